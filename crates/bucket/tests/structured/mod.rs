//! A strict reader of the Lists of RFC 9651, as far as the fields here use them: Items with Strings, Integers and Byte
//! Sequences, no inner lists.

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    String(String),
    Integer(i64),
    Bytes(Vec<u8>),
}

#[derive(Debug)]
pub(crate) struct Item {
    pub(crate) value: Value,
    pub(crate) parameters: Vec<(String, Value)>,
}

/// A non-empty List.
pub(crate) fn list(field: &str) -> Option<Vec<Item>> {
    let mut rest = field.as_bytes();
    let mut items = Vec::new();
    loop {
        items.push(item(&mut rest)?);
        skip(&mut rest, b" \t");
        match rest {
            [] => return Some(items),
            [b',', after @ ..] => rest = after,
            _ => return None,
        }
        skip(&mut rest, b" \t");
    }
}

fn item(rest: &mut &[u8]) -> Option<Item> {
    let value = bare(rest)?;
    let mut parameters = Vec::new();
    while let [b';', after @ ..] = rest {
        *rest = after;
        skip(rest, b" ");
        let key = while_in(rest, |byte| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-.*".contains(&byte)
        });
        let starts = |byte: u8| byte.is_ascii_lowercase() || byte == b'*';
        if !key.bytes().next().is_some_and(starts) {
            return None;
        }
        *rest = rest.strip_prefix(b"=")?;
        parameters.push((key, bare(rest)?));
    }
    Some(Item { value, parameters })
}

fn bare(rest: &mut &[u8]) -> Option<Value> {
    match rest.first()? {
        b'"' => string(rest).map(Value::String),
        b':' => bytes(rest).map(Value::Bytes),
        b'-' | b'0'..=b'9' => {
            let number = while_in(rest, |byte| byte == b'-' || byte.is_ascii_digit());
            let digits = number.trim_start_matches('-').len();
            (digits <= 15).then_some(Value::Integer(number.parse().ok()?))
        }
        _ => None,
    }
}

fn string(rest: &mut &[u8]) -> Option<String> {
    let mut text = String::new();
    *rest = rest.strip_prefix(b"\"")?;
    loop {
        let (&byte, after) = rest.split_first()?;
        *rest = after;
        match byte {
            b'"' => return Some(text),
            b'\\' => {
                let (&escaped, after) = rest.split_first()?;
                *rest = after;
                if !b"\"\\".contains(&escaped) {
                    return None;
                }
                text.push(escaped.into());
            }
            b' '..=b'~' => text.push(byte.into()),
            _ => return None,
        }
    }
}

/// Base64 with its padding.
fn bytes(rest: &mut &[u8]) -> Option<Vec<u8>> {
    *rest = rest.strip_prefix(b":")?;
    let text = while_in(rest, |byte| byte != b':');
    *rest = rest.strip_prefix(b":")?;
    if text.len() % 4 != 0 {
        return None;
    }
    let digits = text.trim_end_matches('=');
    let (mut bits, mut count, mut read) = (0_u32, 0, Vec::new());
    for digit in digits.bytes() {
        let six = match digit {
            b'A'..=b'Z' => digit - b'A',
            b'a'..=b'z' => digit - b'a' + 26,
            b'0'..=b'9' => digit - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(six);
        count += 6;
        if count >= 8 {
            count -= 8;
            read.push((bits >> count) as u8);
            bits &= (1 << count) - 1;
        }
    }
    let padding = text.len() - digits.len();
    (padding == (3 - read.len() % 3) % 3 && bits == 0).then_some(read)
}

fn skip(rest: &mut &[u8], any: &[u8]) {
    while_in(rest, |byte| any.contains(&byte));
}

fn while_in(rest: &mut &[u8], is: impl Fn(u8) -> bool) -> String {
    let end = rest
        .iter()
        .position(|&byte| !is(byte))
        .unwrap_or(rest.len());
    let (taken, after) = rest.split_at(end);
    *rest = after;
    String::from_utf8_lossy(taken).into_owned()
}
