//! Columns of `pg_catalog` that the library lacks, or has as text where PostgreSQL has an array. They are NULL in every row: there are no
//! privileges, no options and no descriptions.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::catalog::TableProvider;
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::{Expr, ident, lit};
use datafusion::prelude::SessionContext;

/// Arrays of text.
const TEXTS: &[(&str, &str)] = &[
    ("pg_attribute", "attacl"),
    ("pg_attribute", "attfdwoptions"),
    ("pg_attribute", "attoptions"),
    ("pg_class", "relacl"),
    ("pg_class", "reloptions"),
    ("pg_database", "datacl"),
    ("pg_db_role_setting", "setconfig"),
    ("pg_default_acl", "defaclacl"),
    ("pg_event_trigger", "evttags"),
    ("pg_foreign_data_wrapper", "fdwacl"),
    ("pg_foreign_data_wrapper", "fdwoptions"),
    ("pg_foreign_server", "srvacl"),
    ("pg_foreign_server", "srvoptions"),
    ("pg_foreign_table", "ftoptions"),
    ("pg_language", "lanacl"),
    ("pg_largeobject_metadata", "lomacl"),
    ("pg_namespace", "nspacl"),
    ("pg_parameter_acl", "paracl"),
    ("pg_proc", "proacl"),
    ("pg_proc", "proconfig"),
    ("pg_tablespace", "spcacl"),
    ("pg_tablespace", "spcoptions"),
    ("pg_type", "typacl"),
    ("pg_user_mapping", "umoptions"),
];

/// The object id of the catalog a row is in.
const TABLEOIDS: &[(&str, i32)] = &[
    ("pg_class", 1259),
    ("pg_constraint", 2606),
    ("pg_event_trigger", 3466),
    ("pg_language", 2612),
    ("pg_namespace", 2615),
    ("pg_opclass", 2616),
    ("pg_operator", 2617),
    ("pg_opfamily", 2753),
    ("pg_proc", 1255),
    ("pg_rewrite", 2618),
    ("pg_statistic_ext", 3381),
    ("pg_trigger", 2620),
    ("pg_type", 1247),
];

/// `table` with the columns it lacks; `None` when it lacks none.
pub fn complete(context: &SessionContext, name: &str, table: &Arc<dyn TableProvider>) -> Result<Option<Arc<dyn TableProvider>>> {
    let mut given = texts(name)?;
    given.extend(TABLEOIDS.iter().filter(|(table, _)| *table == name).map(|(_, oid)| ("tableoid", lit(*oid))));
    if name == "pg_settings" {
        given.push(("boot_val", lit(ScalarValue::Utf8(None))));
    }
    if given.is_empty() {
        return Ok(None);
    }
    let frame = context.read_table(Arc::clone(table))?;
    let schema = table.schema();
    let replaced = |column: &str| given.iter().find(|(name, _)| *name == column).map(|(name, value)| value.clone().alias(*name));
    let mut columns: Vec<Expr> =
        schema.fields().iter().map(|field| replaced(field.name()).unwrap_or_else(|| ident(field.name()))).collect();
    let added = given.iter().filter(|(name, _)| schema.column_with_name(name).is_none());
    columns.extend(added.map(|(name, value)| value.clone().alias(*name)));
    Ok(Some(frame.select(columns)?.into_view()))
}

fn texts(table: &str) -> Result<Vec<(&'static str, Expr)>> {
    let null = ScalarValue::try_from(&DataType::new_list(DataType::Utf8, true))?;
    Ok(TEXTS.iter().filter(|(name, _)| *name == table).map(|(_, column)| (*column, lit(null.clone()))).collect())
}
