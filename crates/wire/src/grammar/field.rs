//! How the shape of a message is written down.

/// One field of a message, in the order of the wire.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Field {
    /// Kafka's name.
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    /// First version that has the field.
    pub(crate) since: i16,
    /// Last version that has it.
    pub(crate) until: i16,
    /// First version in which it may be null.
    pub(crate) nullable_since: Option<i16>,
    /// Set for a field that travels among the tagged fields (KIP-482).
    pub(crate) tag: Option<u32>,
}

/// What a field is made of.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    /// One byte, 0 or 1.
    Boolean,
    /// Number or UUID of so many bytes.
    Fixed(usize),
    /// Text: i16 length, or compact.
    String,
    /// Bytes or records: i32 length, or compact.
    Bytes,
    /// Array of values of so many bytes each.
    FixedArray(usize),
    /// Array of strings.
    StringArray,
    /// Array of structures: size of one in memory, and its fields.
    Array(usize, &'static [Field]),
    /// One structure; if it can be null, a byte in front says 1 or -1.
    Struct(&'static [Field]),
}

/// A message: its fields, and from which version on it is flexible (compact lengths, tagged fields).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) flexible: i16,
    pub(crate) fields: &'static [Field],
}

impl Field {
    const fn new(name: &'static str, kind: Kind) -> Self {
        Self {
            name,
            kind,
            since: 0,
            until: i16::MAX,
            nullable_since: None,
            tag: None,
        }
    }

    /// Absent before this version.
    pub(crate) const fn since(mut self, version: i16) -> Self {
        self.since = version;
        self
    }

    /// Absent after this version.
    pub(crate) const fn until(mut self, version: i16) -> Self {
        self.until = version;
        self
    }

    /// May be null in every version.
    pub(crate) const fn nullable(self) -> Self {
        self.nullable_since(0)
    }

    /// May be null from this version on.
    pub(crate) const fn nullable_since(mut self, version: i16) -> Self {
        self.nullable_since = Some(version);
        self
    }

    /// Travels with this tag.
    pub(crate) const fn tag(mut self, tag: u32) -> Self {
        self.tag = Some(tag);
        self
    }

    pub(crate) fn exists_in(&self, version: i16) -> bool {
        (self.since..=self.until).contains(&version)
    }

    pub(crate) fn nullable_in(&self, version: i16) -> bool {
        self.nullable_since.is_some_and(|since| version >= since)
    }
}

pub(crate) const fn boolean(name: &'static str) -> Field {
    Field::new(name, Kind::Boolean)
}

pub(crate) const fn int8(name: &'static str) -> Field {
    Field::new(name, Kind::Fixed(1))
}

pub(crate) const fn int16(name: &'static str) -> Field {
    Field::new(name, Kind::Fixed(2))
}

pub(crate) const fn int32(name: &'static str) -> Field {
    Field::new(name, Kind::Fixed(4))
}

pub(crate) const fn int64(name: &'static str) -> Field {
    Field::new(name, Kind::Fixed(8))
}

pub(crate) const fn uuid(name: &'static str) -> Field {
    Field::new(name, Kind::Fixed(16))
}

pub(crate) const fn string(name: &'static str) -> Field {
    Field::new(name, Kind::String)
}

pub(crate) const fn records(name: &'static str) -> Field {
    Field::new(name, Kind::Bytes)
}

pub(crate) const fn bytes(name: &'static str) -> Field {
    Field::new(name, Kind::Bytes)
}

pub(crate) const fn int32_array(name: &'static str) -> Field {
    Field::new(name, Kind::FixedArray(4))
}

pub(crate) const fn string_array(name: &'static str) -> Field {
    Field::new(name, Kind::StringArray)
}

/// An array of what the codec decodes into values of type `T`.
pub(crate) const fn array<T>(name: &'static str, fields: &'static [Field]) -> Field {
    Field::new(name, Kind::Array(size_of::<T>(), fields))
}

pub(crate) const fn structure(name: &'static str, fields: &'static [Field]) -> Field {
    Field::new(name, Kind::Struct(fields))
}
