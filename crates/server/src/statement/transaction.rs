//! BEGIN … COMMIT around writes: one atomic append.

use super::{Answer, write};
use crate::error::Result;
use crate::interrupt::Interrupt;
use crate::session::{Session, Transaction};

pub fn begin(session: &mut Session) -> Result<Answer> {
    match session.transaction {
        Transaction::None => session.transaction = Transaction::Open(Vec::new()),
        _ => session.warning("25001", "there is already a transaction in progress"),
    }
    Ok(Answer::Done("BEGIN".to_string()))
}

pub async fn commit(session: &mut Session, interrupt: &mut Interrupt<'_>) -> Result<Answer> {
    session.cursors.clear();
    match std::mem::take(&mut session.transaction) {
        Transaction::Open(writes) => {
            write::append(session, interrupt, writes).await?;
            Ok(Answer::Done("COMMIT".to_string()))
        }
        Transaction::Failed => Ok(Answer::Done("ROLLBACK".to_string())),
        Transaction::None => {
            session.warning("25P01", "there is no transaction in progress");
            Ok(Answer::Done("COMMIT".to_string()))
        }
    }
}

pub fn rollback(session: &mut Session) -> Result<Answer> {
    session.cursors.clear();
    if matches!(std::mem::take(&mut session.transaction), Transaction::None) {
        session.warning("25P01", "there is no transaction in progress");
    }
    Ok(Answer::Done("ROLLBACK".to_string()))
}
