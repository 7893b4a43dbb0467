//! Values of D-Bus as bytes, and back: each begins at a multiple of its own size.
//!
//! Source: D-Bus specification, "Marshaling (Wire Format)".

/// Values one after another, in the order of this machine's bytes.
#[derive(Debug, Default)]
pub(super) struct Body {
    bytes: Vec<u8>,
    types: String,
}

impl Body {
    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Returns the types of the values that were added as arguments.
    pub(super) fn types(&self) -> &str {
        &self.types
    }

    /// Adds an argument: a number with a sign.
    pub(super) fn integer(&mut self, value: i32) {
        self.types.push('i');
        self.number(value.cast_unsigned());
    }

    /// Adds an argument: a truth.
    pub(super) fn truth(&mut self, value: bool) {
        self.types.push('b');
        self.number(value.into());
    }

    /// Adds an argument: a text.
    pub(super) fn text(&mut self, value: &str) {
        self.types.push('s');
        self.string(value);
    }

    /// Adds an argument: a list of structures of these types, each written by `write`.
    pub(super) fn list<T>(&mut self, types: &str, items: &[T], mut write: impl FnMut(&mut Self, &T)) {
        self.types.push('a');
        self.types.push_str(types);
        self.array(8, |body| {
            for item in items {
                body.align(8);
                write(body, item);
            }
        });
    }

    /// Adds an array whose elements begin at multiples of `alignment`.
    pub(super) fn array(&mut self, alignment: usize, write: impl FnOnce(&mut Self)) {
        self.number(0);
        let at = self.bytes.len() - 4;
        self.align(alignment);
        let start = self.bytes.len();
        write(self);
        // Of the elements, without the padding before the first.
        let len = (self.bytes.len() - start) as u32;
        self.bytes[at..at + 4].copy_from_slice(&len.to_ne_bytes());
    }

    pub(super) fn align(&mut self, alignment: usize) {
        self.bytes.resize(self.bytes.len().next_multiple_of(alignment), 0);
    }

    pub(super) fn byte(&mut self, value: u8) {
        self.bytes.push(value);
    }

    pub(super) fn number(&mut self, value: u32) {
        self.align(4);
        self.bytes.extend(value.to_ne_bytes());
    }

    pub(super) fn string(&mut self, value: &str) {
        self.number(value.len() as u32);
        self.bytes.extend(value.bytes());
        self.bytes.push(0);
    }

    pub(super) fn signature(&mut self, value: &str) {
        self.bytes.push(value.len() as u8);
        self.bytes.extend(value.bytes());
        self.bytes.push(0);
    }
}

/// Reads values; `None` where there is none.
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// Begins at a multiple of 8, as bodies and fields do.
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.at >= self.bytes.len()
    }

    pub(super) fn align(&mut self, alignment: usize) {
        self.at = self.at.next_multiple_of(alignment);
    }

    pub(super) fn byte(&mut self) -> Option<u8> {
        self.take(1).map(|bytes| bytes[0])
    }

    pub(super) fn number(&mut self) -> Option<u32> {
        self.align(4);
        self.take(4)?.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes))
    }

    pub(super) fn string(&mut self) -> Option<String> {
        let len = self.number()? as usize;
        self.terminated(len)
    }

    pub(super) fn signature(&mut self) -> Option<String> {
        let len = self.byte()?.into();
        self.terminated(len)
    }

    fn terminated(&mut self, len: usize) -> Option<String> {
        let text = self.take(len)?;
        self.take(1)?;
        String::from_utf8(text.to_vec()).ok()
    }

    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let taken = self.bytes.get(self.at..)?.get(..len)?;
        self.at += len;
        Some(taken)
    }
}
