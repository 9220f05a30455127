//! What differs between servers: how many rows go into one statement, and how a statement is written.
//!
//! PostgreSQL gets each column as one array (`unnest`): the text stays the same however many rows there are, so it is planned once.
//! Its driver knows no array with a null in it, so nulls travel as values that no column has.
//!
//! MariaDB and MySQL get lists, of one of few lengths: a text is prepared once for each connection, and few enough are kept there. To
//! forget one says more than it costs: the driver sends that by itself, and what it sends next waits for the server to have
//! acknowledged it (Nagle's algorithm), which it does 40 ms later.

use sea_orm::{DbBackend, Statement, Value, sea_query::ArrayType};
use tercet_database::lengths;

/// Which server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store::sql) enum Dialect {
    Postgres,
    MySql,
}

/// A column's type. Those with `Null` in their name may be null.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Column {
    Bytes,
    BytesNull,
    Text,
    TextNull,
    Int,
    IntNull,
    Small,
    SmallNull,
    Bool,
}

use Column::{Bool, Bytes, BytesNull, Int, IntNull, Small, SmallNull, Text, TextNull};

/// A text that stands for null on its way: JSON never is, and names have no control characters.
const NO_TEXT: &str = "\u{1}";

/// How MariaDB gets its rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum List {
    /// `VALUES (?,?),(?,?)`, each row once
    Values,
    /// The same, where a row given twice comes to what it comes to given once
    Upserts,
    /// `(?,?),(?,?)`
    In,
    /// `SELECT ? AS column1, … UNION ALL SELECT ?, …`
    Union,
}

/// A statement over many rows of `N` columns: what stands before them and after them, on each server.
pub(super) struct Many<const N: usize> {
    columns: [Column; N],
    list: List,
    postgres: (&'static str, &'static str),
    mysql: (&'static str, &'static str),
}

/// Rows in a statement at most: 16 columns of them are well below the 65,535 values that a server binds.
const ROWS_MAX: usize = 1_000;

/// Each row of a union is a query of its own.
const UNION_MAX: usize = 200;

pub(super) const JOURNAL: Many<4> = Many {
    columns: [Bytes, Int, Int, Bytes],
    list: List::Values,
    postgres: ("INSERT INTO journal (saga_id, seq, at, entry) ", ""),
    mysql: ("INSERT INTO journal (saga_id, seq, at, entry) ", ""),
};

pub(super) const INBOX: Many<3> = Many {
    columns: [Bytes, Int, Bytes],
    list: List::Values,
    postgres: ("INSERT INTO inbox (saga_id, at, message) ", ""),
    mysql: ("INSERT INTO inbox (saga_id, at, message) ", ""),
};

pub(super) const INBOX_DELETE: Many<1> = delete("DELETE FROM inbox WHERE id IN (", [Int]);

pub(super) const AUDIT: Many<5> = Many {
    columns: [Bytes, Int, Text, Text, Text],
    list: List::Values,
    postgres: ("INSERT INTO audit (saga_id, at, actor, action, reason) ", ""),
    mysql: ("INSERT INTO audit (saga_id, at, actor, action, reason) ", ""),
};

const SAGA_COLUMNS: &str = "INSERT INTO sagas (id, namespace, definition, version, saga_key, payload_hash, parent_id, parent_step, \
                            status, parked, attention, updated, wakes, output, started, retention) ";

const SAGA_TYPES: [Column; 16] = [
    Bytes, Text, Text, Int, Text, Bytes, BytesNull, TextNull, Small, Int, Bool, Int, IntNull, TextNull, Int, SmallNull,
];

/// New sagas whose keys must be free.
pub(super) const NEW_SAGA: Many<16> =
    Many { columns: SAGA_TYPES, list: List::Values, postgres: (SAGA_COLUMNS, ""), mysql: (SAGA_COLUMNS, "") };

/// Those whose key and id are free; PostgreSQL answers their ids.
pub(super) const SAGA: Many<16> = Many {
    columns: SAGA_TYPES,
    list: List::Upserts,
    postgres: (SAGA_COLUMNS, " ON CONFLICT DO NOTHING RETURNING id"),
    mysql: (SAGA_COLUMNS, " ON DUPLICATE KEY UPDATE id = id"),
};

/// A saga of which only the key's row is left stays so, whatever is still said about it.
pub(super) const PROJECTION: Many<8> = Many {
    columns: [Bytes, Small, Int, Bool, Int, IntNull, TextNull, SmallNull],
    list: List::Union,
    postgres: (
        "UPDATE sagas SET status = v.column2, parked = v.column3, attention = v.column4, updated = v.column5, \
         wakes = v.column6, output = v.column7, retention = CASE WHEN retention = 2 THEN 2 ELSE v.column8 END FROM (",
        ") AS v WHERE sagas.id = v.column1",
    ),
    mysql: (
        "UPDATE sagas JOIN (",
        ") AS v ON sagas.id = v.column1 SET sagas.status = v.column2, sagas.parked = v.column3, \
         sagas.attention = v.column4, sagas.updated = v.column5, sagas.wakes = v.column6, sagas.output = v.column7, \
         sagas.retention = CASE WHEN sagas.retention = 2 THEN 2 ELSE v.column8 END",
    ),
};

pub(super) const TIMER: Many<4> = Many {
    columns: [Bytes, Text, Int, Int],
    list: List::Upserts,
    postgres: (
        "INSERT INTO timers (saga_id, name, due, attempt) ",
        " ON CONFLICT (saga_id, name) DO UPDATE SET due = excluded.due, attempt = excluded.attempt",
    ),
    mysql: (
        "INSERT INTO timers (saga_id, name, due, attempt) ",
        " ON DUPLICATE KEY UPDATE due = VALUES(due), attempt = VALUES(attempt)",
    ),
};

pub(super) const TIMER_DELETE: Many<2> = delete("DELETE FROM timers WHERE (saga_id, name) IN (", [Bytes, Text]);

pub(super) const OWNERS: Many<3> = delete(
    "SELECT saga_key, definition, namespace, id, payload_hash FROM sagas WHERE (saga_key, definition, namespace) IN (",
    [Text, Text, Text],
);

pub(super) const ANSWERS: Many<1> = delete("SELECT ticket, answer FROM answers WHERE ticket IN (", [Int]);

pub(super) const ANSWERS_DELETE: Many<1> = delete("DELETE FROM answers WHERE ticket IN (", [Int]);

pub(super) const CULPRITS: Many<2> = delete("SELECT saga_id FROM journal WHERE (saga_id, seq) IN (", [Bytes, Int]);

pub(super) const DEFINITION: Many<4> = Many {
    columns: [Text, Int, Text, Text],
    list: List::Upserts,
    postgres: ("INSERT INTO definitions (name, version, fingerprint, description) ", " ON CONFLICT DO NOTHING"),
    mysql: (
        "INSERT INTO definitions (name, version, fingerprint, description) ",
        " ON DUPLICATE KEY UPDATE fingerprint = fingerprint",
    ),
};

pub(super) const DEFINITIONS: Many<2> =
    delete("SELECT name, version, fingerprint, description FROM definitions WHERE (name, version) IN (", [Text, Int]);

pub(super) const PURGE: [Many<1>; 3] = [
    delete("DELETE FROM journal WHERE saga_id IN (", [Bytes]),
    delete("DELETE FROM timers WHERE saga_id IN (", [Bytes]),
    delete("UPDATE sagas SET retention = 2 WHERE id IN (", [Bytes]),
];

pub(super) const PURGE_KEYS: Many<1> = delete("DELETE FROM sagas WHERE id IN (", [Bytes]);

/// A statement that ends with the list of keys it is about.
const fn delete<const N: usize>(before: &'static str, columns: [Column; N]) -> Many<N> {
    Many { columns, list: List::In, postgres: (before, ")"), mysql: (before, ")") }
}

impl Dialect {
    pub(in crate::store::sql) fn of(backend: DbBackend) -> Self {
        if backend == DbBackend::MySql { Self::MySql } else { Self::Postgres }
    }

    pub(super) fn backend(self) -> DbBackend {
        match self {
            Self::Postgres => DbBackend::Postgres,
            Self::MySql => DbBackend::MySql,
        }
    }

    /// One statement; its values stand as `?`.
    pub(super) fn one(self, sql: &str, values: Vec<Value>) -> Statement {
        let sql = match self {
            Self::Postgres => numbered(sql),
            Self::MySql => sql.to_owned(),
        };
        Statement::from_sql_and_values(self.backend(), sql, values)
    }

    /// What reads a row and keeps others from changing it until this transaction ends.
    pub(super) const fn lock_shared(self) -> &'static str {
        match self {
            Self::Postgres => " FOR SHARE",
            Self::MySql => " LOCK IN SHARE MODE",
        }
    }

    /// Statements that together hold every row, in order.
    pub(super) fn many<const N: usize>(self, what: &Many<N>, rows: Vec<[Value; N]>) -> Vec<Statement> {
        let most = if self == Self::MySql && what.list == List::Union { UNION_MAX } else { ROWS_MAX };
        let mut rest = rows;
        let mut statements = Vec::new();
        while !rest.is_empty() {
            let fits = fitting(&rest, most);
            let once = self == Self::MySql && what.list == List::Values;
            let later = rest.split_off(if once { lengths::down(fits) } else { fits });
            let mut some = std::mem::replace(&mut rest, later);
            statements.push(match self {
                Self::Postgres => {
                    let (sql, values) = arrays(what, some, 1);
                    Statement::from_sql_and_values(self.backend(), sql, values)
                }
                Self::MySql => {
                    if !once {
                        fill_up(&mut some, most);
                    }
                    list(what, some)
                }
            });
        }
        statements
    }
}

/// Bytes of a statement's values, about: a server takes a packet of 16 MiB, and closes the connection on a larger one.
const BYTES_MAX: usize = 4 << 20;

/// How many of these rows, of which there is at least one, go into one statement.
fn fitting<const N: usize>(rows: &[[Value; N]], most: usize) -> usize {
    let mut sum = 0;
    let fits = |row: &&[Value; N]| {
        sum += bytes(row);
        sum <= BYTES_MAX
    };
    rows.iter().take(most).take_while(fits).count().max(1)
}

fn bytes<const N: usize>(row: &[Value; N]) -> usize {
    let bytes = |value: &Value| match value {
        Value::Bytes(Some(bytes)) => bytes.len(),
        Value::String(Some(text)) => text.len(),
        _ => 8,
    };
    row.iter().map(bytes).sum()
}

/// Repeats a row up to one of few lengths: the smallest, which adds less than they come to.
fn fill_up<const N: usize>(rows: &mut Vec<[Value; N]>, most: usize) {
    if let Some(smallest) = rows.iter().min_by_key(|row| bytes(row)).cloned() {
        rows.resize(lengths::up(rows.len()).min(most), smallest);
    }
}

fn numbered(sql: &str) -> String {
    let parts = sql.split('?').enumerate();
    parts.map(|(number, part)| if number == 0 { part.to_owned() } else { format!("${number}{part}") }).collect()
}

impl Column {
    /// The array's type, the driver's name for its elements, what stands for null, and how null comes back.
    fn array(self) -> (&'static str, ArrayType, Option<(Value, &'static str)>) {
        match self {
            Bytes => ("bytea", ArrayType::Bytes, None),
            BytesNull => ("bytea", ArrayType::Bytes, Some((Vec::<u8>::new().into(), "''::bytea"))),
            Text => ("text", ArrayType::String, None),
            TextNull => ("text", ArrayType::String, Some((NO_TEXT.into(), "E'\\x01'"))),
            Int => ("int8", ArrayType::BigInt, None),
            IntNull => ("int8", ArrayType::BigInt, Some((i64::MIN.into(), "'-9223372036854775808'::int8"))),
            Small => ("int2", ArrayType::SmallInt, None),
            SmallNull => ("int2", ArrayType::SmallInt, Some((i16::MIN.into(), "'-32768'::int2"))),
            Bool => ("bool", ArrayType::Bool, None),
        }
    }
}

fn is_null(value: &Value) -> bool {
    matches!(value, Value::Bytes(None) | Value::String(None) | Value::BigInt(None) | Value::SmallInt(None))
}

/// What PostgreSQL is given for all of these rows, its values numbered from `first`; `None` where they are more than one statement holds.
pub(super) fn whole<const N: usize>(
    what: &Many<N>, rows: Vec<[Value; N]>, first: usize,
) -> Option<(String, Vec<Value>)> {
    (fitting(&rows, ROWS_MAX) == rows.len()).then(|| arrays(what, rows, first))
}

/// `before SELECT column1, … FROM unnest($1::…[], …) AS u(column1, …) after`
fn arrays<const N: usize>(what: &Many<N>, rows: Vec<[Value; N]>, first: usize) -> (String, Vec<Value>) {
    let mut columns: [Vec<Value>; N] = std::array::from_fn(|_| Vec::with_capacity(rows.len()));
    let arrays = what.columns.map(Column::array);
    for row in rows {
        for ((value, column), (_, _, null)) in row.into_iter().zip(&mut columns).zip(&arrays) {
            column.push(match null {
                Some((stands, _)) if is_null(&value) => stands.clone(),
                _ => value,
            });
        }
    }
    let (mut chosen, mut bound, mut names) = (Vec::new(), Vec::new(), Vec::new());
    for (i, (sql, _, null)) in arrays.iter().enumerate() {
        let name = format!("column{}", i + 1);
        chosen.push(match null {
            Some((_, stands)) => format!("NULLIF({name}, {stands}) AS {name}"),
            None => name.clone(),
        });
        bound.push(format!("${}::{sql}[]", first + i));
        names.push(name);
    }
    let (before, after) = what.postgres;
    let (chosen, bound, names) = (chosen.join(", "), bound.join(", "), names.join(", "));
    let sql = format!("{before}SELECT {chosen} FROM unnest({bound}) AS u({names}){after}");
    let values = arrays.into_iter().zip(columns).map(|((_, kind, _), all)| Value::Array(kind, Some(Box::new(all))));
    (sql, values.collect())
}

fn list<const N: usize>(what: &Many<N>, rows: Vec<[Value; N]>) -> Statement {
    let (before, after) = what.mysql;
    let (first, row, between) = match what.list {
        List::Values | List::Upserts => ("VALUES ", format!("({})", ["?"; N].join(",")), ","),
        List::In => ("", format!("({})", ["?"; N].join(",")), ","),
        List::Union => ("", format!("SELECT {}", ["?"; N].join(",")), " UNION ALL "),
    };
    let mut sql = String::with_capacity(before.len() + rows.len() * (row.len() + between.len()) + after.len() + 256);
    sql.push_str(before);
    sql.push_str(first);
    for i in 0..rows.len() {
        match (i, what.list) {
            (0, List::Union) => {
                let names: Vec<String> = (1..=N).map(|column| format!("? AS column{column}")).collect();
                sql.push_str(&format!("SELECT {}", names.join(",")));
                continue;
            }
            (0, _) => {}
            _ => sql.push_str(between),
        }
        sql.push_str(&row);
    }
    sql.push_str(after);
    Statement::from_sql_and_values(DbBackend::MySql, sql, rows.into_iter().flatten())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    /// What MariaDB is given for each number of rows up to a thousand: how many texts there are of it, and statements at most.
    fn check<const N: usize>(what: &Many<N>, texts: usize, most: usize) {
        let (mut seen, mut statements_most) = (HashSet::new(), 0);
        for rows in 1..=1_000_usize {
            let all: Vec<[Value; N]> = (0..rows).map(|row| std::array::from_fn(|_| (row as i64).into())).collect();
            let statements = Dialect::MySql.many(what, all);
            statements_most = statements_most.max(statements.len());
            let mut given = Vec::new();
            for statement in statements {
                let values = statement.values.unwrap().0;
                given.extend(values.iter().step_by(N).map(|value| match value {
                    Value::BigInt(Some(row)) => *row as usize,
                    other => panic!("{other:?}"),
                }));
                seen.insert(statement.sql);
            }
            if what.list != List::Values {
                given.sort_unstable();
                given.dedup();
            }
            assert!(given.into_iter().eq(0..rows), "each of {rows} rows");
        }
        assert_eq!((seen.len(), statements_most), (texts, most));
    }

    #[test]
    fn mariadb_sees_few_texts() {
        check(&JOURNAL, 27, 4);
        check(&TIMER, 17, 1);
        check(&TIMER_DELETE, 17, 1);
        check(&PROJECTION, 13, 5);
    }

    /// A list is filled up with what is small: the server takes no packet over 16 MiB.
    #[test]
    fn a_list_that_is_filled_up_stays_below_the_servers_limit() {
        let row = |size: usize| std::array::from_fn(|_| Value::Bytes(Some(vec![0; size / 8])));
        let rows: Vec<[Value; 8]> = (0..129).map(|number| row(if number == 128 { 900 << 10 } else { 8 })).collect();
        let statements = Dialect::MySql.many(&PROJECTION, rows);
        let values = statements.into_iter().flat_map(|statement| statement.values.unwrap().0);
        let sum: usize = values.map(|value| bytes(&[value])).sum();
        assert!(sum < 2 * BYTES_MAX, "{sum} bytes");
    }
}
