//! `uniqueString`, `guid` and `newGuid`.

use std::borrow::Cow;

use serde_json::Value;
use uuid::Uuid;

use super::{Arguments, text_of};
use crate::template::{
    evaluate::{Evaluated, Frame, Place},
    expression::Call,
    fault::Fault,
};

/// The namespace in which the resource manager makes its name-based GUIDs.
const NAMESPACE: Uuid = Uuid::from_u128(0x11fb_06fb_712d_4ddd_98c7_e71b_bd58_8830);
const LETTERS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

fn joined(given: &Arguments<'_>) -> Result<String, String> {
    let mut texts = Vec::new();
    for (index, value) in given.all().enumerate() {
        if value.is_array() || value.is_object() || value.is_null() {
            return Err(given.wrong(index, "a string"));
        }
        texts.push(text_of(value));
    }
    Ok(texts.join("-"))
}

/// A number of 64 bits that stands for a template's content. Azure's own, which is another one, is not published.
pub fn template_hash(template: &Value) -> String {
    murmur(template.to_string().as_bytes()).to_string()
}

pub(super) fn unique_string(given: &Arguments<'_>) -> Result<Value, String> {
    let mut hash = murmur(joined(given)?.as_bytes());
    let mut text = String::with_capacity(13);
    for _ in 0..13 {
        let top = usize::try_from(hash >> 59).unwrap_or_default();
        text.push(char::from(LETTERS[top]));
        hash <<= 5;
    }
    Ok(Value::String(text))
}

/// The 64-bit variant of Murmur3 over two 32-bit lanes that the resource manager uses.
#[allow(clippy::many_single_char_names, reason = "the lanes and words of the algorithm")]
fn murmur(bytes: &[u8]) -> u64 {
    const C1: u32 = 0x239b_961b;
    const C2: u32 = 0xab0e_9789;
    let first = |k: u32| k.wrapping_mul(C1).rotate_left(15).wrapping_mul(C2);
    let second = |k: u32| k.wrapping_mul(C2).rotate_left(17).wrapping_mul(C1);
    let (mut a, mut b) = (0_u32, 0_u32);
    let mut chunks = bytes.chunks_exact(8);
    for chunk in &mut chunks {
        a = (a ^ first(word(&chunk[..4]))).rotate_left(19).wrapping_add(b).wrapping_mul(5).wrapping_add(0x561c_cd1b);
        b = (b ^ second(word(&chunk[4..]))).rotate_left(13).wrapping_add(a).wrapping_mul(5).wrapping_add(0x0bca_a747);
    }
    let rest = chunks.remainder();
    if !rest.is_empty() {
        a ^= first(word(&rest[..rest.len().min(4)]));
    }
    if rest.len() > 4 {
        b ^= second(word(&rest[4..]));
    }
    // The length takes part as a 32-bit number.
    #[allow(clippy::cast_possible_truncation, reason = "the algorithm's own width")]
    let length = bytes.len() as u32;
    a ^= length;
    b ^= length;
    a = a.wrapping_add(b);
    b = b.wrapping_add(a);
    a = mixed(a);
    b = mixed(b);
    a = a.wrapping_add(b);
    b = b.wrapping_add(a);
    (u64::from(b) << 32) | u64::from(a)
}

/// Up to four bytes as a little-endian number.
fn word(bytes: &[u8]) -> u32 {
    bytes.iter().rev().fold(0, |word, byte| (word << 8) | u32::from(*byte))
}

fn mixed(mut hash: u32) -> u32 {
    hash = (hash ^ (hash >> 16)).wrapping_mul(0x85eb_ca6b);
    hash = (hash ^ (hash >> 13)).wrapping_mul(0xc2b2_ae35);
    hash ^ (hash >> 16)
}

pub(super) fn guid(given: &Arguments<'_>) -> Result<Value, String> {
    Ok(Value::String(Uuid::new_v5(&NAMESPACE, joined(given)?.as_bytes()).to_string()))
}

pub(super) fn new_guid<'f>(frame: &Frame<'f>, _call: &Call) -> Evaluated<'f> {
    if frame.place != Place::Default {
        return Err(Fault::new("the template function 'newGuid' is allowed in the default value of a parameter only"));
    }
    Ok(Cow::Owned(Value::String(Uuid::new_v4().to_string())))
}
