//! GEO_DISTANCE.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float64Array};
use arrow::datatypes::{DataType, Float64Type};
use datafusion::error::Result;

use super::{Function, failed, is_null, is_text};

const NAME: &str = "geo_distance";

pub(super) const FUNCTIONS: &[Function] = &[Function {
    name: NAME,
    usage: "geo_distance(latitude1, longitude1, latitude2, longitude2 [, unit])",
    arguments: |types| match types {
        [coordinates @ .., unit] if types.len() == 5 && is_text(unit) && coordinates.iter().all(is_number) => {
            Some([DataType::Float64, DataType::Float64, DataType::Float64, DataType::Float64, DataType::Utf8].to_vec())
        }
        _ => (types.len() == 4 && types.iter().all(is_number)).then(|| vec![DataType::Float64; 4]),
    },
    returns: |_| DataType::Float64,
    invoke: distance,
}];

fn is_number(data_type: &DataType) -> bool {
    data_type.is_numeric() || data_type.is_null()
}

fn distance(arrays: &[ArrayRef]) -> Result<ArrayRef> {
    let (coordinates, unit) = arrays.split_at(4);
    let coordinates: Vec<&Float64Array> = coordinates.iter().map(|array| array.as_primitive::<Float64Type>()).collect();
    let units = unit.first().map(|units| units.as_string::<i32>());
    let one = |row: usize| -> Result<Option<f64>> {
        if is_null(&arrays[..4], row) {
            return Ok(None);
        }
        let unit = units.filter(|units| units.is_valid(row)).map_or("", |units| units.value(row));
        let radius = radius(unit)?;
        let [lat1, lon1, lat2, lon2] = std::array::from_fn(|index| coordinates[index].value(row));
        if [lat1, lat2].iter().any(|latitude| !(-90.0..=90.0).contains(latitude)) {
            return Err(failed(NAME, "a latitude is between -90 and 90"));
        }
        if [lon1, lon2].iter().any(|longitude| !(-180.0..=180.0).contains(longitude)) {
            return Err(failed(NAME, "a longitude is between -180 and 180"));
        }
        Ok(Some(radius * haversine(lat1.to_radians(), lon1.to_radians(), lat2.to_radians(), lon2.to_radians())))
    };
    let distances = (0..coordinates[0].len()).map(one).collect::<Result<Float64Array>>()?;
    Ok(Arc::new(distances))
}

/// Of the earth.
fn radius(unit: &str) -> Result<f64> {
    match unit.trim().to_lowercase().as_str() {
        "" | "km" | "kilometer" | "kilometers" | "kilometre" | "kilometres" => Ok(6371.0),
        "mi" | "mile" | "miles" => Ok(3959.0),
        _ => Err(failed(NAME, format!("'{unit}' is no unit of distance: km or miles"))),
    }
}

/// The angle between two points, all in radians.
fn haversine(lat1: f64, lon1: f64, lat2: f64, lon2: f64) -> f64 {
    let half = |angle: f64| (angle / 2.0).sin().powi(2);
    let chord = half(lat2 - lat1) + half(lon2 - lon1) * lat1.cos() * lat2.cos();
    2.0 * chord.sqrt().min(1.0).asin()
}
