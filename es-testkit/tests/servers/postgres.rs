//! A server that is killed, paused, filled up, and cut off.

use std::{net::TcpStream, time::Duration};

use es_testkit::{
    not_run,
    servers::{PrivatePostgres, Proxy, ServerError, containing},
};

use crate::session::Session;

fn started(settings: &[(&str, &str)]) -> Option<PrivatePostgres> {
    given(PrivatePostgres::start_with(settings))
}

fn given(started: Result<PrivatePostgres, ServerError>) -> Option<PrivatePostgres> {
    match started {
        Err(error @ (ServerError::Missing | ServerError::Unsupported(_))) => {
            not_run(&format!("a private Postgres: {error}"));
            None
        }
        started => Some(started.unwrap()),
    }
}

#[test]
fn what_was_committed_before_a_kill_is_there_after_the_restart() {
    let Some(mut postgres) = started(&[("max_connections", "17")]) else { return };
    let port = postgres.port();
    postgres.psql("CREATE TABLE kept (n INT); INSERT INTO kept VALUES (7)").unwrap();
    assert_eq!(postgres.psql("SHOW max_connections").unwrap(), "17\n");
    assert_eq!(postgres.psql("SHOW fsync").unwrap(), "on\n");

    postgres.kill().unwrap();
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
    assert!(matches!(postgres.psql("SELECT 1"), Err(ServerError::Failed { .. })));

    postgres.restart().unwrap();
    assert_eq!(postgres.port(), port);
    assert_eq!(postgres.psql("SELECT n FROM kept").unwrap(), "7\n");
}

#[test]
fn a_kill_takes_the_backends_along() {
    let Some(mut postgres) = started(&[]) else { return };
    let mut backend = Session::start(([127, 0, 0, 1], postgres.port()).into());
    backend.send_query("DO $$ BEGIN LOOP END LOOP; END $$");
    postgres.kill().unwrap();
    postgres.restart().unwrap();
    assert_eq!(postgres.psql("SELECT 1").unwrap(), "1\n");
}

#[test]
fn a_paused_server_answers_only_when_it_is_resumed() {
    let Some(postgres) = started(&[]) else { return };
    let mut session = Session::start(([127, 0, 0, 1], postgres.port()).into());
    postgres.pause().unwrap();
    session.send_query("SELECT 'late'");
    session.stream.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    assert!(session.answer().is_none());
    postgres.resume().unwrap();
    session.stream.set_read_timeout(None).unwrap();
    assert!(containing("late")(&session.answer().unwrap()));
}

#[test]
fn a_paused_server_is_stopped_when_it_is_dropped() {
    let Some(postgres) = started(&[]) else { return };
    let port = postgres.port();
    postgres.pause().unwrap();
    drop(postgres);
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
}

#[test]
fn a_dump_restores_into_another_server() {
    let Some(one) = started(&[]) else { return };
    let Some(other) = started(&[]) else { return };
    one.psql("CREATE TABLE kept (n INT); INSERT INTO kept VALUES (7)").unwrap();
    other.restore_from(&one.dump().unwrap()).unwrap();
    assert_eq!(other.psql("SELECT n FROM kept").unwrap(), "7\n");
}

#[test]
fn sql_that_fails_at_its_end_leaves_nothing() {
    let Some(postgres) = started(&[]) else { return };
    let error = postgres.restore_from("CREATE TABLE kept (n INT); SELECT 1 / 0").unwrap_err();
    assert!(error.to_string().contains("division by zero"), "{error}");
    assert_eq!(postgres.psql("SELECT to_regclass('kept') IS NULL").unwrap(), "t\n");
}

#[test]
fn a_wrong_setting_is_told_in_the_words_of_the_server() {
    if started(&[]).is_none() {
        return;
    }
    let error = PrivatePostgres::start_with(&[("max_connections", "many")]).unwrap_err();
    assert!(error.to_string().contains("invalid value"), "{error}");
}

#[test]
fn a_full_disk_refuses_and_takes_again_when_there_is_room() {
    let small = PrivatePostgres::start_on_small_disk(&[]);
    let Some(mut postgres) = given(small) else { return };
    postgres.psql("CREATE TABLE kept (n INT)").unwrap();
    postgres.fill().unwrap();
    let much = "INSERT INTO kept SELECT n FROM generate_series(1, 2000000) n";
    let error = postgres.psql(much).unwrap_err();
    assert!(error.to_string().contains("No space left on device"), "{error}");

    postgres.make_room().unwrap();
    postgres.restart().unwrap();
    postgres.psql("INSERT INTO kept VALUES (7)").unwrap();
    assert_eq!(postgres.psql("SELECT n FROM kept").unwrap(), "7\n");
}

#[test]
fn only_a_small_disk_can_be_filled() {
    let Some(postgres) = started(&[]) else { return };
    assert!(matches!(postgres.fill(), Err(ServerError::Unsupported(_))));
}

#[test]
fn a_commit_that_is_cut_after_is_done_and_one_that_is_cut_before_is_not() {
    let Some(postgres) = started(&[]) else { return };
    postgres.psql("CREATE TABLE kept (n INT)").unwrap();
    let proxy = Proxy::postgres(([127, 0, 0, 1], postgres.port()).into()).unwrap();
    for (n, expected) in [(7, "7\n"), (8, "7\n")] {
        let mut session = Session::start(proxy.address());
        session.query(&format!("BEGIN; INSERT INTO kept VALUES ({n})")).unwrap();
        match n {
            7 => proxy.cut_after(1, containing("COMMIT")),
            _ => proxy.cut_before(1, containing("COMMIT")),
        }
        assert!(session.query("COMMIT").is_none(), "the client hears nothing");
        assert_eq!(postgres.psql("SELECT n FROM kept").unwrap(), expected);
    }
    assert_eq!(proxy.cuts(), 2);
}

#[test]
fn the_parameters_of_a_prepared_statement_can_be_seen() {
    let Some(postgres) = started(&[]) else { return };
    postgres.psql("CREATE TABLE kept (t TEXT)").unwrap();
    let proxy = Proxy::postgres(([127, 0, 0, 1], postgres.port()).into()).unwrap();
    let mut session = Session::start(proxy.address());
    session.send(b'P', b"put\0INSERT INTO kept VALUES ($1)\0\0\0");
    session.send(b'S', b"");
    session.answer().unwrap();
    proxy.cut_after(2, containing("apple"));
    for expected in [true, false] {
        session.send(b'B', b"\0put\0\0\0\0\x01\0\0\0\x05apple\0\0");
        session.send(b'E', b"\0\0\0\0\0");
        session.send(b'S', b"");
        assert_eq!(session.answer().is_some(), expected);
    }
    assert_eq!(postgres.psql("SELECT count(*) FROM kept").unwrap(), "2\n");
}
