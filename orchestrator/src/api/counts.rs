//! `/v1/counts`: how many sagas there are of each kind.

use super::{App, fields::Parameters, problem::Problem, view};
use axum::{Json, extract::State};

pub(super) async fn counts(
    State(app): State<App>, parameters: Parameters,
) -> Result<Json<Vec<view::CountView>>, Problem> {
    parameters.end()?;
    let count = |count: crate::store::Count| view::CountView {
        definition: count.definition,
        status: view::status(count.status).to_owned(),
        parked: count.parked,
        sagas: count.sagas,
    };
    Ok(Json(app.engine.counts().await?.into_iter().map(count).collect()))
}
