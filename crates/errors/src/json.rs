//! The little JSON that is needed: strings. Objects are written out where they are made, so that their members can be
//! read there.

use std::fmt::{self, Write as _};

/// What it shows, as a JSON string with its quotes.
///
/// RFC 8259 asks to escape the quote, the backslash and the control characters below U+0020. U+007F, U+2028 and U+2029
/// are escaped too, since terminals and some readers of lines take them for more than text.
pub(crate) struct Text<T>(pub(crate) T);

impl<T: fmt::Display> fmt::Display for Text<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('"')?;
        write!(Escape(f), "{}", self.0)?;
        f.write_char('"')
    }
}

struct Escape<'a, 'b>(&'a mut fmt::Formatter<'b>);

impl fmt::Write for Escape<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut plain = 0;
        for (at, char) in text.char_indices() {
            if !matches!(char, '"' | '\\' | '\u{7f}' | '\u{2028}' | '\u{2029}') && char >= ' ' {
                continue;
            }
            self.0.write_str(&text[plain..at])?;
            plain = at + char.len_utf8();
            match char {
                '"' => self.0.write_str("\\\"")?,
                '\\' => self.0.write_str("\\\\")?,
                '\n' => self.0.write_str("\\n")?,
                '\t' => self.0.write_str("\\t")?,
                _ => write!(self.0, "\\u{:04x}", u32::from(char))?,
            }
        }
        self.0.write_str(&text[plain..])
    }
}
