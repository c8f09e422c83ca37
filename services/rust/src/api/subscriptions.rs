use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use axum::{Extension, Json};
use serde::Serialize;
use uuid::Uuid;

use super::auth::AccountId;
use super::body::{JsonBody, Scalar};
use super::form::{self, Form, Refusal};
use super::problem::Problem;
use super::query::{Id, Items, NoQuery, PageQuery, Walk};
use super::versions::{IfMatch, IfNoneMatch, Versioned};
use super::{App, microseconds};
use crate::billing::{NewSubscription, Position, Subscription, SubscriptionPatch};
use crate::postgres;

/// `GET /v1/subscriptions`: a page, oldest first.
pub async fn list(
    State(app): State<Arc<App>>,
    Extension(AccountId(account_id)): Extension<AccountId>,
    query: PageQuery,
) -> Result<Json<Items<SubscriptionBody>>, Problem> {
    let walk = Walk {
        key: &app.cursor_key,
        list: "subscriptions",
        account_id,
    };
    let page = walk.page(&query)?;
    let mut connection = postgres::acquire(&app.pool).await?;
    let subscriptions = postgres::subscription_list(&mut connection, account_id, page).await?;
    let position = |subscription: &Subscription| Position {
        created_at: subscription.created_at,
        id: subscription.id,
    };
    let items = walk.items(page, subscriptions, position, SubscriptionBody::new);
    Ok(Json(items))
}

/// `POST /v1/subscriptions`: creates an active one.
pub async fn create(
    State(app): State<Arc<App>>,
    Extension(AccountId(account_id)): Extension<AccountId>,
    _: NoQuery,
    JsonBody(body): JsonBody,
) -> Result<Response, Problem> {
    let new = new_subscription(&body)?;
    let mut connection = postgres::acquire(&app.pool).await?;
    let created = postgres::subscription_create(&mut connection, account_id, new).await?;
    let location = format!("/v1/subscriptions/{}", created.id);
    Ok(versioned(created).created(&location))
}

/// `GET /v1/subscriptions/{id}`.
pub async fn get(
    State(app): State<Arc<App>>,
    Extension(AccountId(account_id)): Extension<AccountId>,
    Id(id): Id,
    _: NoQuery,
    known: IfNoneMatch,
) -> Result<Response, Problem> {
    let mut connection = postgres::acquire(&app.pool).await?;
    let subscription = postgres::subscription_get(&mut connection, id, account_id).await?;
    Ok(versioned(subscription).unless_known(&known))
}

/// `PATCH /v1/subscriptions/{id}`: changes the fields that are named.
pub async fn patch(
    State(app): State<Arc<App>>,
    Extension(AccountId(account_id)): Extension<AccountId>,
    Id(id): Id,
    _: NoQuery,
    condition: IfMatch,
    JsonBody(body): JsonBody,
) -> Result<Versioned<SubscriptionBody>, Problem> {
    let patch = subscription_patch(&body)?;
    let mut connection = postgres::acquire(&app.pool).await?;
    let mut transaction = postgres::begin(&mut connection).await?;
    let changed = async {
        let mut subscription =
            postgres::subscription_lock(&mut transaction, id, account_id).await?;
        condition.check(subscription.version)?;
        subscription.apply(patch)?;
        postgres::subscription_update(&mut transaction, account_id, subscription).await
    };
    let changed = changed.await;
    Ok(versioned(postgres::end(transaction, changed).await?))
}

/// `DELETE /v1/subscriptions/{id}`: deletes one that has no invoices.
pub async fn delete(
    State(app): State<Arc<App>>,
    Extension(AccountId(account_id)): Extension<AccountId>,
    Id(id): Id,
    _: NoQuery,
    condition: Option<IfMatch>,
) -> Result<StatusCode, Problem> {
    let mut connection = postgres::acquire(&app.pool).await?;
    let mut transaction = postgres::begin(&mut connection).await?;
    let deleted = async {
        let subscription = postgres::subscription_lock(&mut transaction, id, account_id).await?;
        if let Some(condition) = condition {
            condition.check(subscription.version)?;
        }
        postgres::subscription_delete(&mut transaction, id, account_id).await
    };
    let deleted = deleted.await;
    postgres::end(transaction, deleted).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn new_subscription(body: &[u8]) -> Result<NewSubscription, Problem> {
    let mut form = Form::read(body)?;
    let new = NewSubscription {
        plan: form.required("plan", plan),
        price_cents: form.required("price_cents", price),
        currency: form.required("currency", form::currency),
    };
    form.end()?;
    Ok(new)
}

fn subscription_patch(body: &[u8]) -> Result<SubscriptionPatch, Problem> {
    let mut form = Form::read(body)?;
    let patch = SubscriptionPatch {
        plan: form.optional("plan", plan),
        status: form.optional("status", |value| {
            let known = ["active", "past_due", "canceled"];
            form::one_of(value, &known, "has to be active, past_due or canceled")
        }),
        price_cents: form.optional("price_cents", price),
    };
    form.end_of_patch()?;
    Ok(patch)
}

fn plan(value: Scalar) -> Result<String, Refusal> {
    let known = ["starter", "team", "business"];
    form::one_of(value, &known, "has to be starter, team or business")
}

fn price(value: Scalar) -> Result<i64, Refusal> {
    form::integer(
        value,
        0..=1_000_000_000_000,
        "has to be from 0 to 1000000000000",
    )
}

fn versioned(subscription: Subscription) -> Versioned<SubscriptionBody> {
    Versioned {
        version: subscription.version,
        resource: SubscriptionBody::new(subscription),
    }
}

/// A subscription, as it is answered, in the order of the contract.
#[derive(Serialize)]
pub struct SubscriptionBody {
    id: Uuid,
    plan: String,
    status: String,
    price_cents: i64,
    currency: String,
    created_at: String,
}

impl SubscriptionBody {
    fn new(subscription: Subscription) -> Self {
        Self {
            id: subscription.id,
            plan: subscription.plan,
            status: subscription.status,
            price_cents: subscription.price_cents,
            currency: subscription.currency,
            created_at: microseconds(subscription.created_at),
        }
    }
}
