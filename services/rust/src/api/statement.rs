use std::sync::Arc;

use axum::extract::State;
use axum::{Extension, Json};
use serde::Serialize;
use uuid::Uuid;

use super::App;
use super::auth::AccountId;
use super::problem::Problem;
use super::query::{Id, NoQuery};
use crate::billing::Month;
use crate::postgres;

/// `GET /v1/subscriptions/{id}/statement`: what was billed by month, and the rank within the
/// account.
pub async fn statement(
    State(app): State<Arc<App>>,
    Extension(AccountId(account_id)): Extension<AccountId>,
    Id(id): Id,
    _: NoQuery,
) -> Result<Json<Statement>, Problem> {
    let mut connection = postgres::acquire(&app.pool).await?;
    let subscription = postgres::subscription_get(&mut connection, id, account_id).await?;
    let months =
        postgres::subscription_statement(&mut connection, account_id, &subscription).await?;
    Ok(Json(Statement {
        subscription_id: subscription.id,
        currency: subscription.currency,
        months,
    }))
}

/// The body of the answer, in the order of the contract, as is `Month`.
#[derive(Serialize)]
pub struct Statement {
    subscription_id: Uuid,
    currency: String,
    months: Vec<Month>,
}
