use super::*;

fn attempt(tries: i32) -> Attempt {
    Attempt {
        id: Uuid::from_u128(1),
        invoice_id: Uuid::from_u128(2),
        account_id: Uuid::from_u128(3),
        amount_cents: 4916,
        currency: "USD".to_owned(),
        tries,
    }
}

fn payment() -> Payment {
    Payment {
        id: "pay_1".to_owned(),
        invoice_id: "00000000-0000-0000-0000-000000000002".to_owned(),
        status: "succeeded",
        amount_cents: 4916,
        currency: "USD".to_owned(),
        updated_at: DateTime::UNIX_EPOCH,
        idempotency_key: "att-00000000-0000-0000-0000-000000000001".to_owned(),
    }
}

#[test]
fn backoff_doubles_up_to_five_minutes() {
    for (tries, wait_ms) in [
        (1, 1000),
        (2, 2000),
        (9, 256_000),
        (10, 300_000),
        (2000, 300_000),
    ] {
        for _ in 0..100 {
            let waited_ms = attempt(tries).backoff().as_millis();
            let range = wait_ms * 8 / 10..=wait_ms * 12 / 10;
            assert!(
                range.contains(&waited_ms),
                "{waited_ms} after {tries} tries"
            );
        }
    }
}

#[test]
fn only_its_own_payment_ends_an_attempt() {
    let ends = |change: fn(&mut Payment)| {
        let mut payment = payment();
        change(&mut payment);
        attempt(1).is_ended_by(&payment)
    };
    assert!(ends(|_| {}));
    assert!(ends(|payment| {
        payment.status = "declined";
        payment.id.clear();
    }));
    assert!(!ends(|payment| payment.id.clear()));
    assert!(!ends(|payment| payment.status = "pending"));
    assert!(!ends(|payment| payment.status = "unspecified"));
    assert!(!ends(|payment| payment.amount_cents += 1));
    assert!(!ends(|payment| payment.currency = "EUR".to_owned()));
    assert!(!ends(|payment| payment.invoice_id.clear()));
    assert!(!ends(|payment| payment.idempotency_key.clear()));
}
