//! The walk over a body.

use super::cursor::{Bad, Cursor};
use super::field::{Field, Kind, Shape};
use crate::WireError;
use types::limits::{DECODED_BYTES_BASE, DECODED_BYTES_PER_BYTE};

/// Longest string that Kafka's generated code reads, compact or not.
const STRING_BYTES_MAX: usize = i16::MAX as usize;
/// In memory, per string of an array: a `Bytes`.
const STRING_MEMORY: usize = 32;
/// The codec keeps unknown tagged fields in a tree per structure: its first node, and each further entry.
const FIRST_UNKNOWN_TAG_MEMORY: usize = 448;
const UNKNOWN_TAG_MEMORY: usize = 80;

/// Checks that `body` starts with a message of this shape and version, and returns how long it is.
///
/// Bytes after it are tolerated, as Kafka does. What passes, the codec decodes without a panic and within
/// `DECODED_BYTES_BASE + DECODED_BYTES_PER_BYTE * body.len()` bytes of memory.
///
/// # Errors
/// [`WireError::Malformed`] with the first field that is wrong.
pub(crate) fn check(shape: &Shape, version: i16, body: &[u8]) -> Result<usize, WireError> {
    let budget = DECODED_BYTES_PER_BYTE
        .saturating_mul(body.len())
        .saturating_add(DECODED_BYTES_BASE);
    let mut walk = Walk {
        cursor: Cursor::new(body),
        version,
        flexible: version >= shape.flexible,
        budget,
        field: "",
    };
    match walk.fields(shape.fields) {
        Ok(()) => Ok(walk.cursor.position()),
        Err(reason) => Err(WireError::Malformed {
            field: walk.field,
            at: walk.cursor.position(),
            reason,
        }),
    }
}

struct Walk<'a> {
    cursor: Cursor<'a>,
    version: i16,
    flexible: bool,
    /// Memory that the decoded message may still take.
    budget: usize,
    /// Where we are, for the error.
    field: &'static str,
}

impl Walk<'_> {
    /// One structure: its plain fields in order, then its tagged fields.
    fn fields(&mut self, fields: &'static [Field]) -> Result<(), Bad> {
        let version = self.version;
        for field in fields.iter().filter(|f| f.tag.is_none() && f.exists_in(version)) {
            self.field(field)?;
        }
        if self.flexible { self.tagged(fields) } else { Ok(()) }
    }

    /// ```text
    /// uvarint count | count x (uvarint tag | uvarint size | size bytes)
    /// ```
    /// An unknown tag is passed over; one that is known only to later versions is refused, as in Kafka. A
    /// known field must fill its size exactly: the codec goes by its content and ignores the size.
    fn tagged(&mut self, fields: &'static [Field]) -> Result<(), Bad> {
        self.field = "tagged fields";
        let count = self.cursor.unsigned_varint()? as usize;
        if count > self.cursor.remaining() / 2 {
            return Err("more of them than bytes left");
        }
        let mut unknown = 0;
        for _ in 0..count {
            self.field = "tagged fields";
            let tag = self.cursor.unsigned_varint()?;
            let size = self.cursor.unsigned_varint()? as usize;
            if size > self.cursor.remaining() {
                return Err("longer than the bytes that are left");
            }
            match fields.iter().find(|f| f.tag == Some(tag)) {
                Some(field) => {
                    let end = self.cursor.position() + size;
                    if !field.exists_in(self.version) {
                        return Err("tag of a later version");
                    }
                    self.field(field)?;
                    if self.cursor.position() != end {
                        return Err("tagged field does not fill its size");
                    }
                }
                None => {
                    self.spend(if unknown == 0 {
                        FIRST_UNKNOWN_TAG_MEMORY
                    } else {
                        UNKNOWN_TAG_MEMORY
                    })?;
                    unknown += 1;
                    self.cursor.take(size)?;
                }
            }
        }
        Ok(())
    }

    fn field(&mut self, field: &'static Field) -> Result<(), Bad> {
        self.field = field.name;
        match field.kind {
            Kind::Boolean => self.cursor.take(1).map(drop),
            Kind::Fixed(size) => self.cursor.take(size).map(drop),
            Kind::String => self.string(field),
            Kind::Bytes => match self.length(field, Prefix::Int32)? {
                Some(length) => self.cursor.take(length).map(drop),
                None => Ok(()),
            },
            Kind::FixedArray(size) => {
                let Some(count) = self.length(field, Prefix::Int32)? else {
                    return Ok(());
                };
                self.spend(count.saturating_mul(size))?;
                self.cursor.take(count.saturating_mul(size)).map(drop)
            }
            Kind::StringArray => {
                let Some(count) = self.count(field)? else { return Ok(()) };
                self.spend(count.saturating_mul(STRING_MEMORY))?;
                // Null is for the array, never for one string in it.
                let element = Field {
                    nullable_since: None,
                    ..*field
                };
                (0..count).try_for_each(|_| self.string(&element))
            }
            Kind::Array(memory, fields) => {
                let Some(count) = self.count(field)? else { return Ok(()) };
                self.spend(count.saturating_mul(memory))?;
                (0..count).try_for_each(|_| self.fields(fields))
            }
            Kind::Struct(fields) => {
                if field.nullable_in(self.version) {
                    match self.cursor.array::<1>()? {
                        [0xff] => return Ok(()),
                        [1] => {}
                        _ => return Err("presence is neither 1 nor -1"),
                    }
                }
                self.fields(fields)
            }
        }
    }

    fn string(&mut self, field: &Field) -> Result<(), Bad> {
        match self.length(field, Prefix::Int16)? {
            Some(length) if length > STRING_BYTES_MAX => Err("string too long"),
            Some(length) => self.cursor.take(length).map(drop),
            None => Ok(()),
        }
    }

    /// Elements of an array whose elements take a byte at least.
    fn count(&mut self, field: &Field) -> Result<Option<usize>, Bad> {
        let count = self.length(field, Prefix::Int32)?;
        if count.is_some_and(|count| count > self.cursor.remaining()) {
            return Err("more elements than bytes left");
        }
        Ok(count)
    }

    /// A length; None for null where that is allowed.
    fn length(&mut self, field: &Field, prefix: Prefix) -> Result<Option<usize>, Bad> {
        let length = if self.flexible {
            i64::from(self.cursor.unsigned_varint()?) - 1
        } else {
            match prefix {
                Prefix::Int16 => i64::from(i16::from_be_bytes(self.cursor.array()?)),
                Prefix::Int32 => i64::from(i32::from_be_bytes(self.cursor.array()?)),
            }
        };
        match usize::try_from(length) {
            Ok(length) => Ok(Some(length)),
            Err(_) if length == -1 && field.nullable_in(self.version) => Ok(None),
            Err(_) if length == -1 => Err("null where null is not allowed"),
            Err(_) => Err("negative length"),
        }
    }

    fn spend(&mut self, memory: usize) -> Result<(), Bad> {
        self.budget = self
            .budget
            .checked_sub(memory)
            .ok_or("too many elements for a frame of this size")?;
        Ok(())
    }
}

/// Length prefix in versions that are not flexible.
#[derive(Clone, Copy)]
enum Prefix {
    Int16,
    Int32,
}
