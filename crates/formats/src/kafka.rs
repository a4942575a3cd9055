//! Kafka's primitive serializers: one value, nothing around it.

use crate::column::{Column, Reason, Values, utf8};
use crate::json::Cells;

pub(crate) fn read(bytes: &[u8], column: &mut Column) -> Result<(), Reason> {
    match &mut column.values {
        Values::Int(values) => values.push(i32::from_be_bytes(sized(bytes)?)),
        Values::Bigint(values) => values.push(i64::from_be_bytes(sized(bytes)?)),
        Values::Double(values) => values.push(f64::from_be_bytes(sized(bytes)?)),
        Values::Varchar { .. } => {
            let text = utf8(bytes)?;
            return column.append_bytes(text.as_bytes());
        }
        _ => return column.append_bytes(bytes),
    }
    column.pushed();
    Ok(())
}

fn sized<const N: usize>(bytes: &[u8]) -> Result<[u8; N], Reason> {
    bytes.try_into().map_err(|_| format!("expected {N} bytes, found {}", bytes.len()))
}

/// Nothing for types that the format does not hold: construction refuses them.
pub(crate) fn write(cells: &Cells<'_>, row: usize, out: &mut Vec<u8>) {
    match cells {
        Cells::Int(values) => out.extend_from_slice(&values.value(row).to_be_bytes()),
        Cells::Bigint(values) => out.extend_from_slice(&values.value(row).to_be_bytes()),
        Cells::Double(values) => out.extend_from_slice(&values.value(row).to_be_bytes()),
        Cells::Varchar(values) => out.extend_from_slice(values.value(row).as_bytes()),
        Cells::Bytes(values) => out.extend_from_slice(values.value(row)),
        _ => {}
    }
}
