//! What tools ask about tables, other names for them, and forms of queries that SQLite has otherwise.

use compat_mysql::database_or_skip;
use mysql_async::prelude::Queryable;

use super::{number_of, with_accounts};

#[tokio::test]
async fn tools_find_out_what_there_is() {
    let url = database_or_skip!();
    let mut conn = with_accounts(&url).await;
    let items = "CREATE TABLE items (id INT PRIMARY KEY, account INT, note VARCHAR(20) DEFAULT 'x', INDEX by_note (note), \
                 CONSTRAINT of_account FOREIGN KEY (account) REFERENCES accounts (id))";
    conn.query_drop(items).await.expect("a table");
    let tables = "SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE() AND table_type = 'BASE TABLE' \
                  ORDER BY table_name";
    let tables: Vec<String> = conn.query(tables).await.expect("names");
    assert_eq!(tables, ["accounts", "items"]);
    let columns = "SELECT c.COLUMN_NAME, c.IS_NULLABLE, c.DATA_TYPE, c.CHARACTER_MAXIMUM_LENGTH, c.COLUMN_KEY FROM \
                   INFORMATION_SCHEMA.COLUMNS AS c WHERE c.TABLE_SCHEMA = DATABASE() AND c.TABLE_NAME = ? ORDER BY c.ORDINAL_POSITION";
    type Found = (String, String, String, Option<u64>, String);
    let columns: Vec<Found> = conn.exec(columns, ("items",)).await.expect("columns");
    let of = |name: &str, nullable: &str, kind: &str, length, key: &str| -> Found {
        (name.to_owned(), nullable.to_owned(), kind.to_owned(), length, key.to_owned())
    };
    let expected = [
        of("id", "NO", "int", None, "PRI"),
        of("account", "YES", "int", None, "MUL"),
        of("note", "YES", "varchar", Some(20), "MUL"),
    ];
    assert_eq!(columns, expected);
    let index = "SELECT COUNT(*) > 0 FROM `information_schema`.`statistics` WHERE `table_schema` = DATABASE() AND \
                 `table_name` = 'items' AND `index_name` = ?";
    for (name, is_there) in [("by_note", true), ("PRIMARY", true), ("by_nothing", false)] {
        let found: Option<bool> = conn.exec_first(index, (name,)).await.expect("an answer");
        assert_eq!(found, Some(is_there), "{name}");
    }
    let keys = "SELECT k.constraint_name, k.column_name, k.referenced_table_name, k.referenced_column_name FROM \
                information_schema.key_column_usage k JOIN information_schema.table_constraints t ON \
                t.constraint_name = k.constraint_name AND t.table_schema = k.table_schema AND t.table_name = k.table_name WHERE \
                k.table_schema = DATABASE() AND t.constraint_type = 'FOREIGN KEY'";
    let keys: Vec<(String, String, String, String)> = conn.query(keys).await.expect("keys");
    assert_eq!(keys, [("of_account".into(), "account".into(), "accounts".into(), "id".into())]);
}

#[tokio::test]
async fn a_renamed_table_is_still_referred_to() {
    let url = database_or_skip!();
    let mut conn = with_accounts(&url).await;
    conn.query_drop(
        "CREATE TABLE items (account INT, FOREIGN KEY (account) REFERENCES accounts (id) ON DELETE CASCADE)",
    )
    .await
    .expect("a table");
    conn.query_drop("RENAME TABLE accounts TO people").await.expect("another name");
    conn.query_drop("INSERT INTO items VALUES (1)").await.expect("there is one");
    let error = conn.query_drop("INSERT INTO items VALUES (9)").await.expect_err("there is none");
    assert_eq!(number_of(&error).0, 1452);
    let error = conn.query_drop("SELECT * FROM accounts").await.expect_err("it is gone");
    assert_eq!(number_of(&error).0, 1146);
    conn.query_drop("INSERT INTO people (owner, balance) VALUES ('cleo', 1)").await.expect("a row");
    conn.query_drop("DELETE FROM people WHERE id = 1").await.expect("it goes");
    let left: Option<i64> = conn.query_first("SELECT COUNT(*) FROM items").await.expect("a count");
    assert_eq!(left, Some(0));
    let duplicate = conn.query_drop("INSERT INTO people (owner, balance) VALUES ('ben', 1)").await;
    assert_eq!(number_of(&duplicate.expect_err("there is a Ben")).0, 1062);
}

#[tokio::test]
async fn members_of_a_union_and_parts_of_documents() {
    let url = database_or_skip!();
    let mut conn = with_accounts(&url).await;
    let union = "(SELECT owner FROM accounts ORDER BY balance DESC LIMIT 1) UNION ALL (SELECT 'x') UNION ALL \
                 (SELECT owner FROM accounts WHERE id = 2) ORDER BY 1";
    let owners: Vec<String> = conn.query(union).await.expect("rows");
    assert_eq!(owners, ["anna", "ben", "x"]);
    conn.query_drop("CREATE TABLE documents (body JSON)").await.expect("a table");
    let body = r#"{"name": "ann", "sizes": [1, 2], "is": true}"#;
    conn.exec_drop("INSERT INTO documents VALUES (?)", (body,)).await.expect("a row");
    let parts = "SELECT JSON_EXTRACT(body, '$.name'), JSON_EXTRACT(body, '$.sizes'), JSON_EXTRACT(body, '$.is'), \
                 JSON_UNQUOTE(JSON_EXTRACT(body, '$.name')), JSON_EXTRACT(body, '$.none') FROM documents WHERE \
                 JSON_EXTRACT(body, '$.name') = 'ann' AND JSON_EXTRACT(body, '$.sizes[1]') = 2";
    type Parts = (String, String, String, String, Option<String>);
    let parts: Option<Parts> = conn.query_first(parts).await.expect("a row");
    let expected = ("\"ann\"".to_owned(), "[1, 2]".to_owned(), "true".to_owned(), "ann".to_owned(), None);
    assert_eq!(parts, Some(expected));
}
