use std::collections::HashMap;

/// A number for each name, so that ten million operations do not hold it ten million times.
#[derive(Debug, Default)]
pub(crate) struct Names {
    numbers: HashMap<Box<str>, u32>,
    names: Vec<Box<str>>,
}

impl Names {
    /// The name's number; a new name gets the next.
    pub(crate) fn number(&mut self, name: &str) -> u32 {
        if let Some(number) = self.numbers.get(name) {
            return *number;
        }
        // A number for more than 2^32 names would need more memory than there is.
        let number = u32::try_from(self.names.len()).unwrap_or(u32::MAX);
        self.names.push(name.into());
        self.numbers.insert(name.into(), number);
        number
    }

    pub(crate) fn name(&self, number: u32) -> &str {
        self.names.get(number as usize).map_or("?", |name| name)
    }

    pub(crate) fn len(&self) -> usize {
        self.names.len()
    }
}
