//! The records' headers as columns.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryBuilder, ListArray, StringArray, StructArray, new_null_array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field};
use millpond_log::opaque_schema;

use crate::Result;
use crate::topology::{Header, RecordLayout};

/// Fills in those of the `wanted` columns that are headers'. `headers` is the column of an opaque batch.
pub(super) fn read(layout: &RecordLayout, wanted: &[usize], headers: &ListArray, columns: &mut [Option<ArrayRef>]) -> Result<()> {
    let first = layout.written_columns();
    for index in &wanted[wanted.partition_point(|column| *column < first)..] {
        let field = &layout.columns[*index];
        columns[*index] = Some(match &layout.headers[*index - first] {
            Header::All if field.data_type() == &DataType::Utf8 => text(headers),
            Header::All => all(field, headers),
            Header::Last(key) => read_text(last(key, headers), field.data_type())?,
        });
    }
    Ok(())
}

/// Headers of records that have none.
pub(super) fn none(rows: usize) -> ListArray {
    new_null_array(opaque_schema().field(3).data_type(), rows).as_list().clone()
}

/// An empty list where there are none.
fn all(field: &Field, headers: &ListArray) -> ArrayRef {
    let DataType::List(item) = field.data_type() else { unreachable!("all headers are declared as a list") };
    let DataType::Struct(fields) = item.data_type() else { unreachable!("a header is declared as a struct") };
    let values = StructArray::new(fields.clone(), headers.values().as_struct().columns().to_vec(), None);
    // Where the list is null it has no items.
    Arc::new(ListArray::new(Arc::clone(item), headers.offsets().clone(), Arc::new(values), None))
}

fn last(key: &str, headers: &ListArray) -> ArrayRef {
    let offsets = headers.value_offsets();
    if offsets.first() == offsets.last() {
        return new_null_array(&DataType::Binary, headers.len());
    }
    let each = headers.values().as_struct();
    let (keys, contents) = (each.column(0).as_string::<i32>(), each.column(1).as_binary::<i32>());
    let mut column = BinaryBuilder::with_capacity(headers.len(), 0);
    for row in offsets.windows(2) {
        let last = (row[0] as usize..row[1] as usize).rev().find(|header| keys.value(*header) == key);
        column.append_option(last.filter(|header| contents.is_valid(*header)).map(|header| contents.value(header)));
    }
    Arc::new(column.finish())
}

/// What the bytes say in a type other than theirs; NULL where that is no value of it.
fn read_text(bytes: ArrayRef, data_type: &DataType) -> Result<ArrayRef> {
    Ok(match data_type {
        DataType::Binary => bytes,
        DataType::Utf8 => cast(&bytes, data_type)?,
        _ => cast(&cast(&bytes, &DataType::Utf8)?, data_type)?,
    })
}

/// `key=value`, separated by commas.
fn text(headers: &ListArray) -> ArrayRef {
    let each = headers.values().as_struct();
    let (keys, contents) = (each.column(0).as_string::<i32>(), each.column(1).as_binary::<i32>());
    let one = |header: usize| {
        let content = if contents.is_valid(header) { String::from_utf8_lossy(contents.value(header)) } else { "".into() };
        format!("{}={content}", keys.value(header))
    };
    let rows = headers.value_offsets().windows(2).map(|row| (row[0] as usize..row[1] as usize).map(one).collect::<Vec<_>>().join(", "));
    Arc::new(StringArray::from_iter_values(rows))
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::Fields;
    use arrow::util::display::array_value_to_string;
    use millpond_formats::Format;
    use millpond_log::opaque::{Columns, Record, batch};

    use super::*;

    fn layout(headers: &[Header]) -> RecordLayout {
        let each = Fields::from(vec![Field::new("KEY", DataType::Utf8, true), Field::new("VALUE", DataType::Binary, true)]);
        let column = |header: &Header| match header {
            Header::All => DataType::List(Arc::new(Field::new("item", DataType::Struct(each.clone()), true))),
            Header::Last(_) => DataType::Binary,
        };
        let mut columns = vec![Arc::new(Field::new("v", DataType::Int64, true))];
        columns.extend(headers.iter().map(|header| Arc::new(Field::new("h", column(header), true))));
        RecordLayout {
            columns,
            key_columns: 0,
            headers: headers.to_vec(),
            key_format: Format::None,
            value_format: Format::Json,
            windowed: None,
            wrap_single_value: true,
        }
    }

    fn shown(column: &ArrayRef) -> Vec<String> {
        (0..column.len()).map(|row| array_value_to_string(column, row).unwrap()).collect()
    }

    #[test]
    fn all_headers_and_the_last_of_a_key() {
        let record = |headers| Record { key: None, value: None, timestamp_ms: 0, headers };
        let rows = batch([
            record(&[]),
            record(&[("a", Some(b"1")), ("b", Some(b"2")), ("a", Some(b"3"))]),
            record(&[("a", Some(b"4")), ("a", None)]),
        ]);
        let layout = layout(&[Header::All, Header::Last("a".to_owned()), Header::Last("c".to_owned())]);
        for rows in [rows.clone(), rows.slice(1, 2)] {
            let headers = Columns::of(&rows).unwrap().headers;
            let mut columns = vec![None; 4];
            read(&layout, &[0, 1, 2, 3], headers, &mut columns).unwrap();
            let [None, Some(all), Some(a), Some(c)] = columns.as_slice() else { panic!("{columns:?}") };
            assert_eq!(all.data_type(), layout.columns[1].data_type());
            let skipped = 3 - rows.num_rows();
            let expected =
                ["[]", "[{KEY: a, VALUE: 31}, {KEY: b, VALUE: 32}, {KEY: a, VALUE: 33}]", "[{KEY: a, VALUE: 34}, {KEY: a, VALUE: }]"];
            assert_eq!(shown(all), expected[skipped..]);
            assert_eq!(shown(a), ["", "33", ""][skipped..]);
            assert_eq!(c.null_count(), rows.num_rows());
        }
    }

    #[test]
    fn headers_that_are_text_in_other_types() {
        let record = |headers| Record { key: None, value: None, timestamp_ms: 0, headers };
        let rows = batch([record(&[("n", Some(b"17")), ("x", None)]), record(&[("n", Some(b"many"))]), record(&[])]);
        let mut layout = layout(&[Header::All, Header::Last("n".to_owned()), Header::Last("n".to_owned())]);
        for (index, data_type) in [(1, DataType::Utf8), (2, DataType::Utf8), (3, DataType::Int64)] {
            layout.columns[index] = Arc::new(Field::new("h", data_type, true));
        }
        let mut columns = vec![None; 4];
        read(&layout, &[1, 2, 3], Columns::of(&rows).unwrap().headers, &mut columns).unwrap();
        let shown: Vec<_> = columns.iter().flatten().map(shown).collect();
        assert_eq!(shown, [["n=17, x=", "n=many", ""], ["17", "many", ""], ["17", "", ""]]);
    }

    #[test]
    fn records_without_headers() {
        let layout = layout(&[Header::All, Header::Last("a".to_owned())]);
        let mut columns = vec![None; 3];
        read(&layout, &[1, 2], &none(2), &mut columns).unwrap();
        let [None, Some(all), Some(a)] = columns.as_slice() else { panic!("{columns:?}") };
        assert_eq!((all.null_count(), shown(all)), (0, vec!["[]".to_owned(); 2]));
        assert_eq!((a.len(), a.null_count()), (2, 2));
    }
}
