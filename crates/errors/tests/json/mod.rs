//! A reader of JSON, strict and slow, written apart from the writer it checks.
#![allow(dead_code, reason = "each test file uses a part")]

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Json {
    Bool(bool),
    Number(u64),
    Text(String),
    Array(Vec<Json>),
    Object(Vec<(String, Json)>),
}

impl Json {
    /// The value of `text`, which must be one JSON value on one line.
    pub(crate) fn parse(text: &str) -> Self {
        assert!(!text.contains(['\n', '\r']), "more than one line: {text}");
        let mut chars = text.chars().peekable();
        let value = value(&mut chars);
        assert_eq!(chars.next(), None, "something follows the value: {text}");
        value
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Json> {
        let Self::Object(members) = self else {
            panic!("not an object: {self:?}")
        };
        members
            .iter()
            .find(|(member, _)| member == name)
            .map(|(_, value)| value)
    }

    pub(crate) fn text(&self, name: &str) -> &str {
        match self.get(name) {
            Some(Self::Text(text)) => text,
            other => panic!("{name} is {other:?} in {self:?}"),
        }
    }

    pub(crate) fn items(&self, name: &str) -> &[Json] {
        match self.get(name) {
            Some(Self::Array(items)) => items,
            other => panic!("{name} is {other:?} in {self:?}"),
        }
    }
}

type Chars<'a> = std::iter::Peekable<std::str::Chars<'a>>;

fn value(chars: &mut Chars<'_>) -> Json {
    match chars.peek().expect("a value") {
        '"' => Json::Text(text(chars)),
        '{' => Json::Object(list(chars, '}', |chars| {
            let name = text(chars);
            assert_eq!(chars.next(), Some(':'));
            (name, value(chars))
        })),
        '[' => Json::Array(list(chars, ']', value)),
        't' => {
            "true"
                .chars()
                .for_each(|char| assert_eq!(chars.next(), Some(char)));
            Json::Bool(true)
        }
        _ => {
            let mut digits = String::new();
            while let Some(digit) = chars.next_if(char::is_ascii_digit) {
                digits.push(digit);
            }
            Json::Number(digits.parse().expect("a number"))
        }
    }
}

fn list<T>(chars: &mut Chars<'_>, end: char, item: impl Fn(&mut Chars<'_>) -> T) -> Vec<T> {
    chars.next();
    let mut items = Vec::new();
    if chars.next_if_eq(&end).is_some() {
        return items;
    }
    loop {
        items.push(item(chars));
        match chars.next() {
            Some(',') => {}
            Some(char) if char == end => return items,
            other => panic!("{other:?} in a list that ends with {end}"),
        }
    }
}

fn text(chars: &mut Chars<'_>) -> String {
    assert_eq!(chars.next(), Some('"'));
    let mut text = String::new();
    loop {
        match chars.next().expect("the end of a string") {
            '"' => return text,
            '\\' => text.push(match chars.next() {
                Some(plain @ ('"' | '\\')) => plain,
                Some('n') => '\n',
                Some('t') => '\t',
                Some('u') => {
                    let hex: String = chars.by_ref().take(4).collect();
                    let code = u32::from_str_radix(&hex, 16).expect("four hexadecimal digits");
                    char::from_u32(code).expect("no surrogate")
                }
                other => panic!("{other:?} is escaped"),
            }),
            char => {
                assert!(char >= ' ', "{char:?} is not escaped");
                text.push(char);
            }
        }
    }
}
