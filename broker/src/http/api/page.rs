//! The page of what there is: OpenAPI, made from the handlers.

use http::StatusCode;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::{
    Components, ContentBuilder, OpenApi as Page, Ref, RefOr, Response, ResponseBuilder,
};
use utoipa::{Modify, OpenApi};

use crate::http::problem::Details;

/// What the page says about the whole.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Firstwake",
        description = "For operators and services. docs/api.md tells of it in words.",
        license(name = "Apache-2.0 OR MIT")
    ),
    components(schemas(Details)),
    modifiers(&Shown),
    security(("token" = []), ("password" = [])),
    tags(
        (name = "products", description = "Kinds of devices"),
        (name = "devices", description = "Single devices, and many"),
        (name = "feeds", description = "What devices measure and are sent"),
        (name = "events", description = "What happened: the audit log"),
        (name = "operators", description = "Who may ask"),
        (name = "bans", description = "Who is kept out by address"),
        (name = "server", description = "The server itself")
    )
)]
struct Whole;

/// The page, as it is served and committed.
pub(crate) fn page() -> String {
    let mut whole = Whole::openapi();
    for routes in [super::most(), super::lists(), super::fresh()] {
        whole.merge(routes.into_openapi());
    }
    Told.modify(&mut whole);
    let mut text = whole.to_pretty_json().unwrap_or_default();
    text.push('\n');
    text
}

/// How those who ask show who they are.
struct Shown;

impl Modify for Shown {
    fn modify(&self, page: &mut Page) {
        let components = page.components.get_or_insert_with(Components::new);
        let mut token = Http::new(HttpAuthScheme::Bearer);
        token.description = Some("An operator's token".to_owned());
        components.add_security_scheme("token", SecurityScheme::Http(token));
        let mut password = Http::new(HttpAuthScheme::Basic);
        password.description = Some("An operator's name and password".to_owned());
        components.add_security_scheme("password", SecurityScheme::Http(password));
        let mut device = Http::new(HttpAuthScheme::Bearer);
        device.description = Some("A device's key, or a login that it has signed".to_owned());
        components.add_security_scheme("device", SecurityScheme::Http(device));
        let mut code = Http::new(HttpAuthScheme::Basic);
        code.description = Some("A device's serial and its activation code".to_owned());
        components.add_security_scheme("code", SecurityScheme::Http(code));
    }
}

/// What is answered where a request is not carried out.
struct Told;

impl Modify for Told {
    fn modify(&self, page: &mut Page) {
        for item in page.paths.paths.values_mut() {
            let operations = [
                &mut item.get,
                &mut item.put,
                &mut item.post,
                &mut item.patch,
                &mut item.delete,
            ];
            for operation in operations.into_iter().flatten() {
                let responses = &mut operation.responses.responses;
                for (status, response) in &mut *responses {
                    // The page has to have a word for each.
                    if let RefOr::T(response) = response
                        && response.description.is_empty()
                    {
                        response.description = reason(status).to_owned();
                    }
                }
                responses.insert("default".to_owned(), RefOr::T(problem()));
            }
        }
    }
}

/// What a status is called.
fn reason(status: &str) -> &'static str {
    let status = status.parse::<StatusCode>().ok();
    let reason = status.and_then(|status| status.canonical_reason());
    reason.unwrap_or("Carried out")
}

fn problem() -> Response {
    let content = ContentBuilder::new()
        .schema(Some(Ref::from_schema_name("Problem")))
        .build();
    ResponseBuilder::new()
        .description("Not carried out, and why (RFC 9457)")
        .content("application/problem+json", content)
        .build()
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_committed_page_is_of_these_handlers() {
        let committed = include_str!("../../../../docs/openapi.json");
        assert!(
            committed == super::page(),
            "write it again: cargo run -- openapi > docs/openapi.json"
        );
    }
}
