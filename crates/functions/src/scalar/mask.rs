//! MASK and its family: characters replaced by what stands for their class.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StringArray};
use arrow::datatypes::{DataType, Int64Type};
use datafusion::error::Result;

use super::{Function, failed, is_integer, is_text};

pub(super) const FUNCTIONS: &[Function] = &[
    Function {
        name: "mask",
        usage: "mask(text [, upper, lower, digit, other])",
        arguments: |types| (matches!(types.len(), 1 | 5) && types.iter().all(is_text)).then(|| vec![DataType::Utf8; types.len()]),
        returns: |_| DataType::Utf8,
        invoke: |arrays| mask("mask", arrays, false, |_, _| true),
    },
    partial("mask_keep_left", "mask_keep_left(text, n [, upper, lower, digit, other])", |arrays| {
        mask("mask_keep_left", arrays, true, |place, n| place.from_left >= n)
    }),
    partial("mask_keep_right", "mask_keep_right(text, n [, upper, lower, digit, other])", |arrays| {
        mask("mask_keep_right", arrays, true, |place, n| place.from_right >= n)
    }),
    partial("mask_left", "mask_left(text, n [, upper, lower, digit, other])", |arrays| {
        mask("mask_left", arrays, true, |place, n| place.from_left < n)
    }),
    partial("mask_right", "mask_right(text, n [, upper, lower, digit, other])", |arrays| {
        mask("mask_right", arrays, true, |place, n| place.from_right < n)
    }),
];

const fn partial(name: &'static str, usage: &'static str, invoke: fn(&[ArrayRef]) -> Result<ArrayRef>) -> Function {
    Function {
        name,
        usage,
        arguments: |types| match types {
            [text, n, masks @ ..] if is_text(text) && is_integer(n) && matches!(masks.len(), 0 | 4) && masks.iter().all(is_text) => {
                let masks = masks.iter().map(|_| DataType::Utf8);
                Some([DataType::Utf8, DataType::Int64].into_iter().chain(masks).collect())
            }
            _ => None,
        },
        returns: |_| DataType::Utf8,
        invoke,
    }
}

/// How many characters stand before one, and behind it.
struct Place {
    from_left: usize,
    from_right: usize,
}

fn mask(name: &str, arrays: &[ArrayRef], counted: bool, masked: fn(Place, usize) -> bool) -> Result<ArrayRef> {
    let texts = arrays[0].as_string::<i32>();
    let masks = &arrays[if counted { 2 } else { 1 }..];
    let one = |row: usize| -> Result<Option<String>> {
        if texts.is_null(row) || (counted && arrays[1].is_null(row)) {
            return Ok(None);
        }
        let n = if counted { arrays[1].as_primitive::<Int64Type>().value(row) } else { 0 };
        let n = usize::try_from(n).map_err(|_| failed(name, "the number of characters is negative"))?;
        let classes = classes(name, masks, row)?;
        let text = texts.value(row);
        let length = text.chars().count();
        let replaced = text.chars().enumerate().map(|(at, character)| {
            let place = Place { from_left: at, from_right: length - 1 - at };
            if masked(place, n) { classes[class(character)].unwrap_or(character) } else { character }
        });
        Ok(Some(replaced.collect()))
    };
    let masked = (0..texts.len()).map(one).collect::<Result<StringArray>>()?;
    Ok(Arc::new(masked))
}

/// Upper case, lower case, digits, everything else.
fn class(character: char) -> usize {
    match character {
        _ if character.is_uppercase() => 0,
        _ if character.is_lowercase() => 1,
        _ if character.is_numeric() => 2,
        _ => 3,
    }
}

/// What each class is replaced by; `None` keeps it.
fn classes(name: &str, masks: &[ArrayRef], row: usize) -> Result<[Option<char>; 4]> {
    let mut classes = [Some('X'), Some('x'), Some('n'), Some('-')];
    for (class, mask) in classes.iter_mut().zip(masks) {
        let mask = mask.as_string::<i32>();
        let mut characters = if mask.is_null(row) { "" } else { mask.value(row) }.chars();
        *class = characters.next();
        if characters.next().is_some() {
            return Err(failed(name, format!("'{}' is longer than one character", mask.value(row))));
        }
    }
    Ok(classes)
}
