//! Random valid bodies, written from the grammar alone. Whether they mean the same to the codec is what
//! the tests ask.

use super::field::{Field, Kind, Shape};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// How a body is written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Style {
    /// Elements of an array, at most.
    pub(crate) elements_max: usize,
    /// Shortest strings, most elements, no nested elements: the most memory per byte.
    pub(crate) dense: bool,
    /// Fields with tags that nobody knows.
    pub(crate) unknown_tags: bool,
    /// Writes null at the so-manieth place where the grammar does not allow it.
    pub(crate) null_at: Option<usize>,
    /// What half of the texts, ids and records are taken from.
    pub(crate) words: Words,
}

/// What somebody who reads a body knows: names and ids that exist, records that are well formed.
#[derive(Debug, Clone, Copy, Default)]
pub struct Words {
    pub texts: &'static [&'static str],
    pub ids: &'static [[u8; 16]],
    pub records: &'static [Vec<u8>],
}

impl Default for Style {
    fn default() -> Self {
        Self {
            elements_max: 3,
            dense: false,
            unknown_tags: true,
            null_at: None,
            words: Words::default(),
        }
    }
}

/// A body and what is known about it.
#[derive(Debug)]
pub(crate) struct Sample {
    pub(crate) body: Vec<u8>,
    /// Places where null is not allowed.
    pub(crate) not_nullable: usize,
    /// The field that `null_at` made null.
    pub(crate) nulled: Option<&'static Field>,
}

pub(crate) fn sample(shape: &Shape, version: i16, seed: u64, style: Style) -> Sample {
    let mut writer = Writer {
        rng: StdRng::seed_from_u64(seed),
        version,
        flexible: version >= shape.flexible,
        style,
        depth: 0,
        sample: Sample {
            body: Vec::new(),
            not_nullable: 0,
            nulled: None,
        },
    };
    writer.fields(shape.fields);
    writer.sample
}

struct Writer {
    rng: StdRng,
    version: i16,
    flexible: bool,
    style: Style,
    depth: usize,
    sample: Sample,
}

impl Writer {
    fn fields(&mut self, fields: &'static [Field]) {
        for field in fields {
            if field.tag.is_none() && field.exists_in(self.version) {
                self.field(field, false);
            }
        }
        if self.flexible {
            self.tagged(fields);
        }
    }

    /// Known tags ascending, then unknown ones, as every encoder does.
    fn tagged(&mut self, fields: &'static [Field]) {
        let mut tags: Vec<(u32, Vec<u8>)> = Vec::new();
        for field in fields {
            let Some(tag) = field.tag else { continue };
            if field.exists_in(self.version) && self.rng.random_bool(0.7) {
                let outer = std::mem::take(&mut self.sample.body);
                self.field(field, true);
                tags.push((tag, std::mem::replace(&mut self.sample.body, outer)));
            }
        }
        if self.style.unknown_tags && (self.style.dense || self.rng.random_bool(0.2)) {
            let value = if self.style.dense { Vec::new() } else { self.bytes(200) };
            tags.push((10, value));
            if self.rng.random_bool(0.5) {
                tags.push((70_000, vec![7]));
            }
        }
        self.varint(tags.len());
        for (tag, value) in tags {
            self.varint(tag as usize);
            self.varint(value.len());
            self.sample.body.extend(value);
        }
    }

    /// A tagged field is not encoded where it has its default value, so it gets another one.
    fn field(&mut self, field: &'static Field, tagged: bool) {
        let nullable = field.nullable_in(self.version);
        match field.kind {
            Kind::Boolean => {
                let value = u8::from(tagged || self.rng.random_bool(0.5));
                self.sample.body.push(value);
            }
            Kind::Fixed(size) => {
                let mut value = self.fixed(size);
                value[size - 1] |= u8::from(tagged);
                self.sample.body.extend(value);
            }
            Kind::Struct(fields) => {
                if nullable {
                    if self.rng.random_bool(0.3) {
                        return self.sample.body.push(0xff);
                    }
                    self.sample.body.push(1);
                }
                self.fields(fields);
            }
            _ if nullable && !tagged && self.rng.random_bool(0.2) => self.null(field.kind),
            _ if !nullable && self.null_here(field) => self.null(field.kind),
            Kind::String => self.string(usize::from(tagged)),
            Kind::Bytes => {
                let value = match self.word(self.style.words.records) {
                    Some(records) => records.clone(),
                    None => self.bytes(300),
                };
                self.length(value.len(), Kind::Bytes);
                self.sample.body.extend(value);
            }
            Kind::FixedArray(size) => {
                let count = self.elements(0);
                self.length(count, field.kind);
                let value: Vec<u8> = (0..count * size).map(|_| self.rng.random()).collect();
                self.sample.body.extend(value);
            }
            Kind::StringArray => {
                let count = self.elements(0);
                self.length(count, field.kind);
                (0..count).for_each(|_| self.string(0));
            }
            Kind::Array(_, fields) => {
                let count = self.elements(usize::from(tagged));
                self.length(count, field.kind);
                self.depth += 1;
                (0..count).for_each(|_| self.fields(fields));
                self.depth -= 1;
            }
        }
    }

    /// One of `words`, half of the time, if there are any.
    fn word<T>(&mut self, words: &'static [T]) -> Option<&'static T> {
        if words.is_empty() || self.rng.random_bool(0.5) {
            return None;
        }
        words.get(self.rng.random_range(0..words.len()))
    }

    /// A number, or an id. Where words are known, half of the numbers are from −1 to 3.
    fn fixed(&mut self, size: usize) -> Vec<u8> {
        if size == 16
            && let Some(id) = self.word(self.style.words.ids)
        {
            return id.to_vec();
        }
        if size < 16 && !self.style.words.texts.is_empty() && self.rng.random_bool(0.5) {
            let small: i64 = self.rng.random_range(-1..4);
            return small.to_be_bytes()[8 - size..].to_vec();
        }
        (0..size).map(|_| self.rng.random()).collect()
    }

    fn null_here(&mut self, field: &'static Field) -> bool {
        let here = self.style.null_at == Some(self.sample.not_nullable);
        self.sample.not_nullable += 1;
        if here {
            self.sample.nulled = Some(field);
        }
        here
    }

    fn elements(&mut self, least: usize) -> usize {
        match (self.style.dense, self.depth) {
            (true, 0) => self.style.elements_max,
            (true, _) => 0,
            (false, _) => self.rng.random_range(least..=self.style.elements_max.max(least)),
        }
    }

    fn string(&mut self, least: usize) {
        if let Some(text) = self.word(self.style.words.texts) {
            self.length(text.len(), Kind::String);
            self.sample.body.extend(text.as_bytes());
            return;
        }
        let length = if self.style.dense {
            least
        } else if self.rng.random_bool(0.05) {
            self.rng.random_range(127..400)
        } else {
            self.rng.random_range(least..12)
        };
        let text: String = (0..length).map(|_| self.rng.random_range('a'..='z')).collect();
        self.length(text.len(), Kind::String);
        self.sample.body.extend(text.as_bytes());
    }

    fn bytes(&mut self, most: usize) -> Vec<u8> {
        let length = if self.style.dense {
            0
        } else {
            self.rng.random_range(0..most)
        };
        (0..length).map(|_| self.rng.random()).collect()
    }

    fn null(&mut self, kind: Kind) {
        match (self.flexible, kind) {
            (true, _) => self.sample.body.push(0),
            (false, Kind::String) => self.sample.body.extend((-1_i16).to_be_bytes()),
            (false, _) => self.sample.body.extend((-1_i32).to_be_bytes()),
        }
    }

    fn length(&mut self, length: usize, kind: Kind) {
        match (self.flexible, kind) {
            (true, _) => self.varint(length + 1),
            (false, Kind::String) => self.sample.body.extend((length as i16).to_be_bytes()),
            (false, _) => self.sample.body.extend((length as i32).to_be_bytes()),
        }
    }

    fn varint(&mut self, mut value: usize) {
        while value >= 0x80 {
            self.sample.body.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.sample.body.push(value as u8);
    }
}
