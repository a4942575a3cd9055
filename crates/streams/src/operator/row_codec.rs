//! Columns ↔ row-encoded bytes, for keys and values of stores.

use arrow::array::ArrayRef;
use arrow::compute::cast;
use arrow::datatypes::DataType;
use arrow::row::{RowConverter, Rows, SortField};

use crate::{Error, Result};

/// Arrow's row format for columns of fixed types. No encoded row is a prefix of another one, so rows may be followed by more bytes.
pub(crate) struct RowCodec {
    converter: RowConverter,
    types: Vec<DataType>,
}

impl RowCodec {
    pub(crate) fn new(types: Vec<DataType>) -> Result<RowCodec> {
        let fields: Vec<SortField> = types.iter().cloned().map(SortField::new).collect();
        if types.is_empty() || !RowConverter::supports_fields(&fields) {
            return Err(Error::Topology(format!("no row encoding for columns of types {types:?}")));
        }
        Ok(RowCodec { converter: RowConverter::new(fields)?, types })
    }

    pub(crate) fn encode(&self, columns: &[ArrayRef]) -> Result<Rows> {
        if columns.iter().zip(&self.types).all(|(column, wanted)| column.data_type() == wanted) {
            return Ok(self.converter.convert_columns(columns)?);
        }
        let fitting: Result<Vec<ArrayRef>> = columns.iter().zip(&self.types).map(|(column, wanted)| conform(column, wanted)).collect();
        Ok(self.converter.convert_columns(&fitting?)?)
    }

    /// What a store must have been written with for its rows to be decoded: see [`RowCodec::decode`].
    pub(crate) fn layout(&self) -> String {
        self.types.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
    }

    /// The rows must have been encoded with the same types, since Arrow trusts them: a task compares its stores' layouts when it is built.
    pub(crate) fn decode<'a>(&self, rows: impl IntoIterator<Item = &'a [u8]>) -> Result<Vec<ArrayRef>> {
        let parser = self.converter.parser();
        // The parser's rows borrow from it, so they are collected before it goes.
        let rows: Vec<_> = rows.into_iter().map(|row| parser.parse(row)).collect();
        Ok(self.converter.convert_rows(rows)?)
    }
}

/// The column as `wanted`: libraries name the fields of lists differently.
pub(crate) fn conform(column: &ArrayRef, wanted: &DataType) -> Result<ArrayRef> {
    if column.data_type() == wanted { Ok(column.clone()) } else { Ok(cast(column, wanted)?) }
}
