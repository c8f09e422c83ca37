use super::*;

const KEY: &str = "0123456789abcdef0123456789abcdef";

fn walk(key: &CursorKey) -> Walk<'_> {
    Walk {
        key,
        list: "invoices",
        account_id: Uuid::from_u128(1),
    }
}

#[test]
fn only_ones_own_cursor_is_taken() {
    let (key, other_key) = (CursorKey::new(KEY), CursorKey::new(&KEY.to_uppercase()));
    let position = Position {
        created_at: DateTime::from_timestamp_micros(1_767_323_045_000_006).unwrap(),
        id: Uuid::from_u128(2),
    };
    let cursor = walk(&key).cursor(position);
    assert_eq!(cursor.len(), 44);
    assert_eq!(walk(&key).position(&cursor), Some(position));

    let other_list = Walk {
        list: "subscriptions",
        ..walk(&key)
    };
    let other_account = Walk {
        account_id: Uuid::from_u128(3),
        ..walk(&key)
    };
    for other in [other_list, other_account, walk(&other_key)] {
        assert_eq!(other.position(&cursor), None);
    }
    for at in 0..cursor.len() {
        let mut changed = cursor.clone().into_bytes();
        changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(changed).unwrap();
        assert_eq!(walk(&key).position(&changed), None, "{changed}");
    }
    for bad in [
        "",
        "A",
        &format!("{cursor}="),
        &format!("{cursor}AAAA"),
        &"*".repeat(44),
    ] {
        assert_eq!(walk(&key).position(bad), None, "{bad}");
    }
}

#[test]
fn a_query_is_taken_as_it_is_written() {
    for (query, limit, after) in [
        ("", 20, None),
        ("limit=1", 1, None),
        ("after=x&limit=100", 100, Some("x")),
        ("after==", 20, Some("=")),
    ] {
        let read = PageQuery::read(query).unwrap_or_else(|| panic!("{query:?}"));
        assert_eq!((read.limit, read.after.as_deref()), (limit, after));
    }
    for bad in [
        "&",
        "limit",
        "limit=",
        "limit=0",
        "limit=01",
        "limit=%31",
        "limit=+1",
        "limit=-1",
        "limit=101",
        "limit=256",
        "limit=1&limit=1",
        "after=x&after=x",
        "Limit=1",
        "x=1",
        "limit=1&",
        "=",
    ] {
        assert!(PageQuery::read(bad).is_none(), "{bad:?}");
    }
}
