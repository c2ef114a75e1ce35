//! Reads a `google.protobuf.Struct` in protobuf's binary form, as which Envoy 1.40 hands a Struct over
//! (its documentation speaks of JSON). Knows the five kinds of value and nothing else of protobuf.

use serde_json::{Map, Number, Value};

const MAX_DEPTH: u32 = 32;

/// What one field of a message holds.
enum Field<'a> {
    Varint(u64),
    Fixed64([u8; 8]),
    Bytes(&'a [u8]),
}

/// The Struct in `bytes`; `None` if they are not one.
pub fn parse_struct(bytes: &[u8]) -> Option<Value> {
    read_struct(bytes, MAX_DEPTH)
}

fn read_struct(bytes: &[u8], depth: u32) -> Option<Value> {
    let depth = depth.checked_sub(1)?;
    let mut object = Map::new();
    each_field(bytes, |number, field| {
        if let (1, Field::Bytes(entry)) = (number, field) {
            let (key, value) = read_entry(entry, depth)?;
            object.insert(key, value);
            return Some(());
        }
        None
    })?;
    Some(Value::Object(object))
}

fn read_entry(bytes: &[u8], depth: u32) -> Option<(String, Value)> {
    let (mut key, mut value) = (String::new(), Value::Null);
    each_field(bytes, |number, field| {
        match (number, field) {
            (1, Field::Bytes(text)) => key = String::from_utf8(text.to_vec()).ok()?,
            (2, Field::Bytes(inner)) => value = read_value(inner, depth)?,
            _ => return None,
        }
        Some(())
    })?;
    Some((key, value))
}

fn read_value(bytes: &[u8], depth: u32) -> Option<Value> {
    let mut value = Value::Null;
    each_field(bytes, |number, field| {
        value = match (number, field) {
            (1, Field::Varint(_)) => Value::Null,
            (2, Field::Fixed64(double)) => {
                Value::Number(Number::from_f64(f64::from_le_bytes(double))?)
            }
            (3, Field::Bytes(text)) => Value::String(String::from_utf8(text.to_vec()).ok()?),
            (4, Field::Varint(flag)) => Value::Bool(flag != 0),
            (5, Field::Bytes(inner)) => read_struct(inner, depth)?,
            (6, Field::Bytes(inner)) => read_list(inner, depth)?,
            _ => return None,
        };
        Some(())
    })?;
    Some(value)
}

fn read_list(bytes: &[u8], depth: u32) -> Option<Value> {
    let depth = depth.checked_sub(1)?;
    let mut items = Vec::new();
    each_field(bytes, |number, field| match (number, field) {
        (1, Field::Bytes(item)) => {
            items.push(read_value(item, depth)?);
            Some(())
        }
        _ => None,
    })?;
    Some(Value::Array(items))
}

fn each_field<'a>(
    mut bytes: &'a [u8],
    mut take: impl FnMut(u64, Field<'a>) -> Option<()>,
) -> Option<()> {
    while !bytes.is_empty() {
        let tag = varint(&mut bytes)?;
        let field = match tag & 7 {
            0 => Field::Varint(varint(&mut bytes)?),
            1 => {
                let (double, rest) = bytes.split_first_chunk::<8>()?;
                bytes = rest;
                Field::Fixed64(*double)
            }
            2 => {
                let length = usize::try_from(varint(&mut bytes)?).ok()?;
                let (inner, rest) = bytes.split_at_checked(length)?;
                bytes = rest;
                Field::Bytes(inner)
            }
            _ => return None,
        };
        take(tag >> 3, field)?;
    }
    Some(())
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f).checked_shl(shift)?;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn message(number: u8, inner: &[u8]) -> Vec<u8> {
        let mut bytes = vec![number << 3 | 2, u8::try_from(inner.len()).unwrap()];
        bytes.extend(inner);
        bytes
    }

    fn entry(key: &str, value: &[u8]) -> Vec<u8> {
        let inner = [message(1, key.as_bytes()), message(2, value)].concat();
        message(1, &inner)
    }

    #[test]
    fn what_envoy_handed_over_is_read() {
        // As captured from Envoy 1.40 for {mode: enforce, allow: [45.1.2.7]}.
        let captured = b"\n\x11\n\x04mode\x12\t\x1a\x07enforce\n\x17\n\x05allow\x12\x0e2\x0c\n\n\x1a\x0845.1.2.7";
        assert_eq!(
            parse_struct(captured),
            Some(json!({"mode": "enforce", "allow": ["45.1.2.7"]}))
        );
    }

    #[test]
    fn every_kind_of_value_is_read() {
        let number = [&[2 << 3 | 1][..], &25_f64.to_le_bytes()].concat();
        let nested = message(5, &entry("x", &[4 << 3, 1]));
        let all = [
            entry("n", &number),
            entry("s", &message(3, b"text")),
            entry("o", &nested),
            entry("z", &[1 << 3, 0]),
        ]
        .concat();
        assert_eq!(
            parse_struct(&all),
            Some(json!({"n": 25.0, "s": "text", "o": {"x": true}, "z": null}))
        );
        assert_eq!(parse_struct(b""), Some(json!({})));
    }

    #[test]
    fn what_is_cut_off_or_too_deep_is_not_a_struct() {
        let whole = entry("s", &message(3, b"text"));
        for end in 1..whole.len() {
            assert_eq!(parse_struct(&whole[..end]), None, "{end}");
        }
        let mut deep = entry("x", &[4 << 3, 1]);
        for _ in 0..4 {
            deep = entry("x", &message(5, &deep));
        }
        assert!(parse_struct(&deep).is_some());
        assert_eq!(read_struct(&deep, 3), None);
        assert_eq!(parse_struct(b"{\"mode\":1}"), None);
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_trap(bytes in proptest::collection::vec(0_u8..=255, 0..200)) {
            let _parsed = parse_struct(&bytes);
        }
    }
}
