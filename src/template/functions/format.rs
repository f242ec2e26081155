//! `format`: .NET's composite formatting, in the invariant culture.

use serde_json::{Number, Value};

use super::{Arguments, text_of};

/// The widest field.
const MAX_WIDTH: i32 = 100_000;

pub(super) fn format(given: &Arguments<'_>) -> Result<Value, String> {
    let pattern: Vec<char> = given.text(0)?.chars().collect();
    let mut text = String::new();
    let mut at = 0;
    while let Some(&c) = pattern.get(at) {
        match (c, pattern.get(at + 1)) {
            ('{', Some('{')) | ('}', Some('}')) => {
                text.push(c);
                at += 2;
            }
            ('{', _) => {
                let end = pattern[at..].iter().position(|c| *c == '}').ok_or("the format has a '{' without '}'")?;
                let item: String = pattern[at + 1..at + end].iter().collect();
                text.push_str(&field(given, &item)?);
                at += end + 1;
            }
            ('}', _) => return Err("the format has a '}' without '{'; a brace itself is written '}}'".to_owned()),
            _ => {
                text.push(c);
                at += 1;
            }
        }
    }
    Ok(Value::String(text))
}

/// `index[,width][:format]`.
fn field(given: &Arguments<'_>, item: &str) -> Result<String, String> {
    let (head, pattern) = item.split_once(':').map_or((item, None), |(head, pattern)| (head, Some(pattern)));
    let (index, width) = head.split_once(',').map_or((head, None), |(index, width)| (index, Some(width)));
    let index: usize = index.trim().parse().map_err(|_| format!("'{{{item}}}' is no field such as {{0}}"))?;
    let value = index.checked_add(1).and_then(|index| given.get(index));
    let value = value.ok_or_else(|| format!("the field '{{{item}}}' has no argument, {} are given", given.values.len() - 1))?;
    let text = match (value, pattern) {
        (Value::Number(number), Some(pattern)) => self::number(number, pattern)?,
        (value, _) => text_of(value),
    };
    let Some(width) = width else { return Ok(text) };
    let width: i32 = width
        .trim()
        .parse()
        .ok()
        .filter(|width: &i32| (-MAX_WIDTH..=MAX_WIDTH).contains(width))
        .ok_or_else(|| format!("'{width}' is no width"))?;
    let length = usize::try_from(width.unsigned_abs()).unwrap_or_default();
    Ok(if width < 0 { format!("{text:<length$}") } else { format!("{text:>length$}") })
}

/// A number by a standard format (`D4`, `N0`, `F2`, `X8`, `E3`, `P1`, `G`, `C`) or a custom one (`000.00`).
fn number(number: &Number, pattern: &str) -> Result<String, String> {
    let integer = number.as_i64();
    let float = number.as_f64().unwrap_or_default();
    let letter = pattern.chars().next().unwrap_or('G');
    let digits = pattern.get(letter.len_utf8()..).unwrap_or_default();
    let standard = letter.is_ascii_alphabetic() && digits.len() <= 3 && digits.bytes().all(|b| b.is_ascii_digit());
    let precision = digits.parse::<usize>().ok();
    if !standard {
        return Ok(custom(number, pattern));
    }
    match (letter.to_ascii_uppercase(), integer) {
        ('D', Some(integer)) => {
            let sign = if integer < 0 { "-" } else { "" };
            Ok(format!("{sign}{:0width$}", integer.unsigned_abs(), width = precision.unwrap_or(1)))
        }
        ('X', Some(integer)) if letter == 'x' => Ok(format!("{integer:0width$x}", width = precision.unwrap_or(1))),
        ('X', Some(integer)) => Ok(format!("{integer:0width$X}", width = precision.unwrap_or(1))),
        ('N', _) => Ok(grouped(&fixed(number, precision.unwrap_or(2)))),
        ('F', _) => Ok(fixed(number, precision.unwrap_or(2))),
        ('C', _) => Ok(format!("¤{}", grouped(&fixed(number, precision.unwrap_or(2))))),
        ('P', _) => Ok(format!("{} %", grouped(&format!("{:.*}", precision.unwrap_or(2), float * 100.0)))),
        ('E', _) => Ok(exponent(float, precision.unwrap_or(6), letter)),
        ('G' | 'R', _) => Ok(number.to_string()),
        _ => Err(format!("'{pattern}' is no format for the number {number}")),
    }
}

fn fixed(number: &Number, precision: usize) -> String {
    match number.as_i64() {
        Some(integer) if precision == 0 => integer.to_string(),
        Some(integer) => format!("{integer}.{}", "0".repeat(precision)),
        None => format!("{:.precision$}", number.as_f64().unwrap_or_default()),
    }
}

/// With a comma after every three digits.
fn grouped(text: &str) -> String {
    let (sign, rest) = text.strip_prefix('-').map_or(("", text), |rest| ("-", rest));
    let (whole, fraction) = rest.split_once('.').map_or((rest, None), |(whole, fraction)| (whole, Some(fraction)));
    let mut result = sign.to_owned();
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index).is_multiple_of(3) {
            result.push(',');
        }
        result.push(digit);
    }
    fraction.map(|fraction| format!("{result}.{fraction}")).unwrap_or(result)
}

fn exponent(number: f64, precision: usize, letter: char) -> String {
    let text = format!("{number:.precision$e}");
    let (mantissa, power) = text.split_once('e').unwrap_or((&text, "0"));
    let power: i32 = power.parse().unwrap_or_default();
    let sign = if power < 0 { '-' } else { '+' };
    format!("{mantissa}{letter}{sign}{:03}", power.abs())
}

/// A custom format: `0` writes a digit always, `#` where there is one, `,` between them groups, anything else stands for itself.
fn custom(number: &Number, pattern: &str) -> String {
    let is_digit = |c: char| matches!(c, '0' | '#');
    let (Some(start), Some(end)) = (pattern.find(is_digit), pattern.rfind(is_digit)) else { return pattern.to_owned() };
    let (prefix, body, suffix) = (&pattern[..start], &pattern[start..=end], &pattern[end + 1..]);
    let (whole, fraction) = body.split_once('.').unwrap_or((body, ""));
    let least = whole.chars().skip_while(|c| *c != '0').filter(|c| is_digit(*c)).count();
    let (most, needed) = (fraction.chars().filter(|c| is_digit(*c)).count(), fraction.rfind('0').map_or(0, |at| at + 1));
    let text = fixed(number, most);
    let (sign, text) = text.strip_prefix('-').map_or(("", text.as_str()), |rest| ("-", rest));
    let (digits, decimals) = text.split_once('.').unwrap_or((text, ""));
    let mut digits = format!("{:0>least$}", digits.trim_start_matches('0'));
    if whole.contains(',') {
        digits = grouped(&digits);
    }
    let mut decimals = decimals.to_owned();
    while decimals.len() > needed && decimals.ends_with('0') {
        decimals.pop();
    }
    let dot = if decimals.is_empty() { "" } else { "." };
    format!("{sign}{prefix}{digits}{dot}{decimals}{suffix}")
}
