//! Types: what goes in as a parameter comes out of a column, in the binary format.

use super::super::sqlx::encode::IsNull;
use super::super::sqlx::postgres::{PgArgumentBuffer, PgHasArrayType, PgTypeInfo, PgValueRef, Postgres};
use super::super::sqlx::types::chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, TimeZone, Utc};
use super::super::sqlx::types::{Decimal, Json, Uuid};
use super::super::sqlx::{self, Executor, PgConnection, Row};
use super::connected;

const TABLE: &str = "CREATE TABLE everything (
    id INT PRIMARY KEY, b BOOL, i2 SMALLINT, i4 INT, i8 BIGINT, f4 REAL, f8 DOUBLE PRECISION, n NUMERIC(20, 4), t TEXT, v VARCHAR(40),
    c CHAR(3), by BYTEA, u UUID, d DATE, ti TIME, ts TIMESTAMP, tz TIMESTAMPTZ, j JSON, jb JSONB, ai INT[], at TEXT[])";

/// Each expression as text, as PostgreSQL writes it.
const EXPRESSIONS: &[(&str, &str)] = &[
    ("1 + 1", "2"),
    ("7 / 2", "3"),
    ("-7 % 3", "-1"),
    ("7 / 2.0", "3.5000000000000000"),
    ("10::numeric / 3", "3.3333333333333333"),
    ("0.1 + 0.2", "0.3"),
    ("round(2.345, 2)", "2.35"),
    ("1.50::numeric(5,1)", "1.5"),
    ("2 ^ 10", "1024"),
    ("'a' || 1 || true", "a1true"),
    ("upper('e') || length('日本')", "E2"),
    ("substring('abcdef' from 2 for 3)", "bcd"),
    ("trim(both 'x' from 'xxaxx')", "a"),
    ("split_part('a,b,c', ',', -1)", "c"),
    ("'abc' LIKE 'a%' AND 'abc' NOT LIKE 'B_'", "true"),
    ("'ABC' ILIKE 'a_c'", "true"),
    ("'abc' ~ '^a.c$'", "true"),
    ("regexp_replace('foobar', 'o+', '0')", "f0bar"),
    ("NULL IS NULL", "true"),
    ("NULL = 1 OR true", "true"),
    ("1 IN (2, NULL)", ""),
    ("2 = ANY(ARRAY[1, 2])", "true"),
    ("3 <> ALL(ARRAY[1, 2])", "true"),
    ("coalesce(NULL, NULL, 'x')", "x"),
    ("CASE WHEN 1 > 2 THEN 'a' ELSE 'b' END", "b"),
    ("timestamptz '2024-03-31 12:00+02' AT TIME ZONE 'UTC'", "2024-03-31 10:00:00"),
    ("date '2024-01-31' + interval '1 month'", "2024-02-29 00:00:00"),
    ("timestamp '2024-01-02' - timestamp '2024-01-01 06:00'", "18:00:00"),
    ("date '2024-03-01' - date '2024-02-01'", "29"),
    ("interval '1 day' * 2 + interval '90 minutes'", "2 days 01:30:00"),
    ("extract(epoch from timestamptz '2000-01-01 00:00:01+00')", "946684801.000000"),
    ("extract(dow from date '2024-02-29')", "4"),
    ("date_trunc('month', timestamp '2024-02-29 13:00')", "2024-02-01 00:00:00"),
    ("'{\"a\": {\"b\": [10, 20]}}'::jsonb -> 'a' -> 'b' ->> 1", "20"),
    ("'{\"b\":1,\"a\":2}'::jsonb", "{\"a\": 2, \"b\": 1}"),
    ("'{\"a\":1,\"b\":2}'::jsonb @> '{\"b\":2}'", "true"),
    ("'{\"a\":1}'::jsonb || '{\"c\":3}'", "{\"a\": 1, \"c\": 3}"),
    ("'{\"a\":1}'::jsonb ? 'a'", "true"),
    ("jsonb_build_object('n', 1, 't', now() IS NOT NULL)", "{\"n\": 1, \"t\": true}"),
    ("array_length(ARRAY['a', 'b'] || 'c'::text, 1)", "3"),
    ("(ARRAY[10, 20, 30])[2]", "20"),
    ("array_to_string(ARRAY[1, 2, 3], '-')", "1-2-3"),
    ("'\\xdeadbeef'::bytea", "\\xdeadbeef"),
    ("encode('abc'::bytea, 'hex')", "616263"),
    ("md5('abc')", "900150983cd24fb0d6963f7d28e17f72"),
    ("greatest(1, 3, 2)", "3"),
    ("1e10::float8", "10000000000"),
    ("1e20::float8", "1e+20"),
    ("0.1::float4", "0.1"),
    ("(SELECT max(n) FROM generate_series(1, 5) n)", "5"),
    ("(SELECT string_agg(n::text, ',' ORDER BY n DESC) FROM generate_series(1, 3) n)", "3,2,1"),
    ("(SELECT avg(n) FROM generate_series(1, 4) n)", "2.5000000000000000"),
    ("(SELECT sum(n) FROM generate_series(1, 0) n)", ""),
    ("(SELECT array_agg(n) FROM generate_series(1, 3) n)", "{1,2,3}"),
    ("(SELECT count(*) FILTER (WHERE n > 2) FROM generate_series(1, 5) n)", "3"),
    (
        "(WITH RECURSIVE t(n) AS (VALUES (1) UNION ALL SELECT n * 2 FROM t WHERE n < 50) SELECT max(n) FROM t)",
        "64",
    ),
    ("EXISTS (SELECT 1 FROM (VALUES (1), (2)) AS v(x) WHERE x = 2)", "true"),
];

#[tokio::test]
async fn every_type_comes_back() {
    let Some((_server, mut connection)) = connected().await else { return };
    connection.execute(TABLE).await.expect("a table");
    let date = NaiveDate::from_ymd_opt(2024, 2, 29).expect("a day");
    let time = NaiveTime::from_hms_micro_opt(23, 59, 58, 123_456).expect("a time");
    let naive = NaiveDateTime::new(date, time);
    let zoned: DateTime<Utc> = Utc.from_utc_datetime(&naive);
    let uuid = Uuid::from_u128(0x1234_5678_9abc_def0_1234_5678_9abc_def0);
    let decimal: Decimal = "-123456.7800".parse().expect("a number");
    let json = serde_json::json!({"key": [1, 2.5, null, "text"], "a": {"b": true}});
    sqlx::query(
        "INSERT INTO everything VALUES
         ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21)",
    )
    .bind(1_i32)
    .bind(true)
    .bind(i16::MIN)
    .bind(i32::MAX)
    .bind(i64::MIN)
    .bind(1.25_f32)
    .bind(-1e300_f64)
    .bind(decimal)
    .bind("text with 'quotes' and ünïcode")
    .bind("varchar")
    .bind("ab")
    .bind(vec![0_u8, 1, 255])
    .bind(uuid)
    .bind(date)
    .bind(time)
    .bind(naive)
    .bind(zoned)
    .bind(Json(&json))
    .bind(Json(&json))
    .bind(vec![Some(1_i32), None, Some(-3)])
    .bind(vec!["a".to_owned(), "b,c".to_owned(), String::new()])
    .execute(&mut connection)
    .await
    .expect("a row");
    let row = sqlx::query("SELECT * FROM everything WHERE id = $1")
        .bind(1_i32)
        .fetch_one(&mut connection)
        .await
        .expect("a row");
    assert!(row.get::<bool, _>("b"));
    assert_eq!(row.get::<i16, _>("i2"), i16::MIN);
    assert_eq!(row.get::<i32, _>("i4"), i32::MAX);
    assert_eq!(row.get::<i64, _>("i8"), i64::MIN);
    assert_eq!(row.get::<f32, _>("f4"), 1.25);
    assert_eq!(row.get::<f64, _>("f8"), -1e300);
    assert_eq!(row.get::<Decimal, _>("n"), decimal);
    assert_eq!(row.get::<String, _>("t"), "text with 'quotes' and ünïcode");
    assert_eq!(row.get::<String, _>("v"), "varchar");
    assert_eq!(row.get::<String, _>("c"), "ab ");
    assert_eq!(row.get::<Vec<u8>, _>("by"), [0, 1, 255]);
    assert_eq!(row.get::<Uuid, _>("u"), uuid);
    assert_eq!(row.get::<NaiveDate, _>("d"), date);
    assert_eq!(row.get::<NaiveTime, _>("ti"), time);
    assert_eq!(row.get::<NaiveDateTime, _>("ts"), naive);
    assert_eq!(row.get::<DateTime<Utc>, _>("tz"), zoned);
    assert_eq!(row.get::<Json<serde_json::Value>, _>("j").0, json);
    assert_eq!(row.get::<Json<serde_json::Value>, _>("jb").0, json);
    assert_eq!(row.get::<Vec<Option<i32>>, _>("ai"), [Some(1), None, Some(-3)]);
    assert_eq!(row.get::<Vec<String>, _>("at"), ["a", "b,c", ""]);
    nulls(&mut connection).await;
}

async fn nulls(connection: &mut PgConnection) {
    sqlx::query("INSERT INTO everything (id, t, n) VALUES ($1, $2, $3)")
        .bind(2_i32)
        .bind(None::<String>)
        .bind(None::<Decimal>)
        .execute(&mut *connection)
        .await
        .expect("a row of nulls");
    let row = sqlx::query("SELECT t, n, u, tz, ai FROM everything WHERE id = 2")
        .fetch_one(connection)
        .await
        .expect("a row");
    assert_eq!(row.get::<Option<String>, _>("t"), None);
    assert_eq!(row.get::<Option<Decimal>, _>("n"), None);
    assert_eq!(row.get::<Option<Uuid>, _>("u"), None);
    assert_eq!(row.get::<Option<DateTime<Utc>>, _>("tz"), None);
    assert_eq!(row.get::<Option<Vec<i32>>, _>("ai"), None);
}

#[tokio::test]
async fn expressions_are_as_postgres_has_them() {
    let Some((_server, mut connection)) = connected().await else { return };
    let mut wrong = Vec::new();
    for (expression, expected) in EXPRESSIONS {
        let text = format!("SELECT coalesce(({expression})::text, '')");
        match super::super::scalar_text(&mut connection, text).await {
            Ok(found) if found == *expected => {}
            other => wrong.push(format!("{expression}: {other:?}, not {expected:?}")),
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// An enum of the user's, as its derived implementation would have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mood {
    Sad,
    Happy,
}

impl sqlx::Type<Postgres> for Mood {
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_name("mood")
    }
}

impl PgHasArrayType for Mood {
    fn array_type_info() -> PgTypeInfo {
        PgTypeInfo::array_of("mood")
    }
}

impl sqlx::Encode<'_, Postgres> for Mood {
    fn encode_by_ref(
        &self,
        buffer: &mut PgArgumentBuffer,
    ) -> Result<IsNull, Box<dyn std::error::Error + Send + Sync>> {
        <&str as sqlx::Encode<Postgres>>::encode(if *self == Mood::Sad { "sad" } else { "happy" }, buffer)
    }
}

impl sqlx::Decode<'_, Postgres> for Mood {
    fn decode(value: PgValueRef<'_>) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        Ok(if <&str as sqlx::Decode<Postgres>>::decode(value)? == "sad" { Mood::Sad } else { Mood::Happy })
    }
}

#[tokio::test]
async fn enums_of_the_user_are_looked_up() {
    let Some((_server, mut connection)) = connected().await else { return };
    connection
        .execute(
            "CREATE TYPE mood AS ENUM ('sad', 'happy');
             CREATE TABLE people (name TEXT, mood mood, moods mood[])",
        )
        .await
        .expect("a type and a table");
    let moods = vec![Mood::Happy, Mood::Sad];
    sqlx::query("INSERT INTO people VALUES ($1, $2, $3)")
        .bind("ada")
        .bind(Mood::Happy)
        .bind(&moods)
        .execute(&mut connection)
        .await
        .expect("a row");
    let found: (Mood, Vec<Mood>) =
        sqlx::query_as("SELECT mood, moods FROM people WHERE mood > $1 AND $1 = ANY (moods)")
            .bind(Mood::Sad)
            .fetch_one(&mut connection)
            .await
            .expect("a row");
    assert_eq!(found, (Mood::Happy, moods));
}

#[tokio::test]
async fn arrays_become_rows() {
    let Some((_server, mut connection)) = connected().await else { return };
    connection
        .execute("CREATE TABLE bulk (id INT PRIMARY KEY, name TEXT, data BYTEA)")
        .await
        .expect("a table");
    let ids: Vec<i32> = (0..500).collect();
    let names: Vec<Option<String>> = ids.iter().map(|id| (id % 7 != 0).then(|| format!("n{id}"))).collect();
    let data: Vec<Vec<u8>> = ids.iter().map(|id| vec![0xff, *id as u8]).collect();
    let done = sqlx::query("INSERT INTO bulk SELECT * FROM UNNEST($1::int[], $2::text[], $3::bytea[])")
        .bind(&ids)
        .bind(&names)
        .bind(&data)
        .execute(&mut connection)
        .await
        .expect("rows");
    assert_eq!(done.rows_affected(), 500);
    let found: Vec<(i32, Option<String>, Vec<u8>)> =
        sqlx::query_as("SELECT * FROM bulk ORDER BY id").fetch_all(&mut connection).await.expect("rows");
    let expected: Vec<_> = ids
        .iter()
        .zip(&names)
        .zip(&data)
        .map(|((id, name), data)| (*id, name.clone(), data.clone()))
        .collect();
    assert_eq!(found, expected);
    let uneven: Vec<(Option<i32>, Option<String>)> =
        sqlx::query_as("SELECT t.a, t.b FROM unnest(ARRAY[1, 2, 3], ARRAY['x']) AS t(a, b)")
            .fetch_all(&mut connection)
            .await
            .expect("rows");
    assert_eq!(uneven, [(Some(1), Some("x".to_owned())), (Some(2), None), (Some(3), None)]);
    let listed: Vec<(i32, String)> = sqlx::query_as("SELECT unnest($1::int[]), unnest($2::text[]) AS name")
        .bind(&ids[..2])
        .bind(["p", "q"])
        .fetch_all(&mut connection)
        .await
        .expect("rows");
    assert_eq!(listed, [(0, "p".to_owned()), (1, "q".to_owned())]);
    let series: Vec<i32> =
        sqlx::query_scalar("SELECT generate_series(1, 3)").fetch_all(&mut connection).await.expect("rows");
    assert_eq!(series, [1, 2, 3]);
    let row: String = sqlx::query_scalar("SELECT ROW(1, 'a b', NULL, true)::text")
        .fetch_one(&mut connection)
        .await
        .expect("a row");
    assert_eq!(row, "(1,\"a b\",,t)");
}
