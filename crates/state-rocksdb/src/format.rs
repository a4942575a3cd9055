//! Whether a directory is ours to use: asked before anything in it is touched.

use std::path::Path;

use millpond_state::{Error, Result};
use rocksdb::{DB, ErrorKind, Options, WriteBatch};

use crate::{Database, Family};

/// What this version writes. It reads nothing else.
const FORMAT: u32 = 1;
const FORMAT_KEY: &[u8] = b"format";
const SERVICE_KEY: &[u8] = b"service";

fn foreign(path: &Path, what: impl std::fmt::Display) -> Error {
    Error::Foreign(format!("{}: {what}", path.display()))
}

/// Refuses a directory that holds something else.
pub(crate) fn check_directory(path: &Path) -> Result<()> {
    let is_ours = path.join("CURRENT").exists();
    match std::fs::read_dir(path).map(|mut files| files.next().is_none()) {
        Ok(is_empty) if is_ours || is_empty => {}
        Ok(_) => return Err(foreign(path, "it holds files that are not millpond's; give an empty or a new directory")),
        Err(missing) if missing.kind() == std::io::ErrorKind::NotFound => {
            return std::fs::create_dir_all(path).map_err(|error| foreign(path, error));
        }
        Err(error) => return Err(foreign(path, error)),
    }
    if !is_ours {
        return Ok(());
    }
    let families = DB::list_cf(&Options::default(), path).map_err(|error| opening_failed(path, error))?;
    if !families.iter().any(|family| family == Family::Meta.name()) {
        return Err(foreign(path, "it holds a database that is not millpond's"));
    }
    match families.iter().find(|family| *family != "default" && Family::ALL.iter().all(|known| known.name() != *family)) {
        Some(_) => Err(foreign(path, "it was written by a newer version of millpond")),
        None => Ok(()),
    }
}

/// Tells the user what an error of opening means.
pub(crate) fn opening_failed(path: &Path, error: rocksdb::Error) -> Error {
    let (kind, message) = (error.kind(), error.into_string());
    if message.contains("lock") || message.contains("LOCK") {
        return foreign(path, format!("another process is using it ({message})"));
    }
    match kind {
        ErrorKind::Corruption => Error::Damaged(format!("{}: {message}", path.display())),
        _ => Error::Storage(message),
    }
}

/// Refuses another format and another service; writes both into a new database.
pub(crate) fn check_contents(database: &Database, path: &Path, service_id: Option<&str>) -> Result<()> {
    let mut batch = WriteBatch::default();
    let meta = database.family(Family::Meta);
    match database.meta(FORMAT_KEY)? {
        None => batch.put_cf(meta, FORMAT_KEY, FORMAT.to_be_bytes()),
        Some(format) if format == FORMAT.to_be_bytes() => {}
        Some(format) => {
            let found = <[u8; 4]>::try_from(&format[..]).map_or("unknown".to_owned(), |format| u32::from_be_bytes(format).to_string());
            return Err(foreign(path, format!("it has format {found}, and this version of millpond reads format {FORMAT}")));
        }
    }
    if let Some(service_id) = service_id {
        match database.meta(SERVICE_KEY)? {
            None => batch.put_cf(meta, SERVICE_KEY, service_id),
            Some(found) if found == service_id.as_bytes() => {}
            Some(found) => {
                let found = String::from_utf8_lossy(&found).into_owned();
                return Err(foreign(path, format!("it belongs to service \"{found}\", not to \"{service_id}\"")));
            }
        }
    }
    if batch.is_empty() { Ok(()) } else { database.write(batch) }
}
