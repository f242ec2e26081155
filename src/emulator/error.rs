//! Azure's error envelope.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// An error as Azure Resource Manager answers it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ApiError {
    /// The HTTP status.
    pub status: u16,
    /// Azure's code.
    pub code: String,
    /// Azure's message.
    pub message: String,
    /// Which property or resource is wrong.
    pub target: Option<Box<str>>,
    /// Nested errors.
    pub details: Vec<Value>,
    /// Further headers, such as `Retry-After`.
    pub headers: Vec<(String, String)>,
}

impl ApiError {
    /// An error without details.
    pub fn new(status: u16, code: &str, message: impl Into<String>) -> Self {
        Self { status, code: code.into(), message: message.into(), target: None, details: Vec::new(), headers: Vec::new() }
    }

    /// The request is wrong.
    pub fn bad_request(code: &str, message: impl Into<String>) -> Self {
        Self::new(400, code, message)
    }

    /// Something else stands in the way.
    pub fn conflict(code: &str, message: impl Into<String>) -> Self {
        Self::new(409, code, message)
    }

    /// There is no such resource.
    pub fn resource_not_found(type_and_name: &str, group: Option<&str>) -> Self {
        let under = group.map_or_else(String::new, |group| format!(" under resource group '{group}'"));
        Self::new(
            404,
            "ResourceNotFound",
            format!(
                "The Resource '{type_and_name}'{under} was not found. For more details please go to https://aka.ms/ARMResourceNotFoundFix"
            ),
        )
    }

    /// There is no such resource group.
    pub fn group_not_found(name: &str) -> Self {
        Self::new(404, "ResourceGroupNotFound", format!("Resource group '{name}' could not be found."))
    }

    /// The parent of a nested resource is missing.
    pub fn parent_not_found(parent: &str) -> Self {
        Self::new(
            404,
            "ParentResourceNotFound",
            format!("Failed to perform 'write' on resource(s), because the parent resource '{parent}' could not be found."),
        )
    }

    /// The method does not fit the resource.
    pub fn method_not_allowed(method: &str, path: &str) -> Self {
        Self::new(405, "MethodNotAllowed", format!("The HTTP method '{method}' is not supported at the path '{path}'."))
    }

    /// The api-version is missing.
    pub fn missing_api_version() -> Self {
        let message = "The api-version query parameter (?api-version=) is required for all requests.";
        Self::bad_request("MissingApiVersionParameter", message)
    }

    /// The body is not what it should be.
    pub fn invalid_content(problem: &str) -> Self {
        Self::bad_request("InvalidRequestContent", format!("The request content was invalid and could not be deserialized: '{problem}'."))
    }

    /// Names what is wrong.
    pub fn with_target(mut self, target: impl Into<Box<str>>) -> Self {
        self.target = Some(target.into());
        self
    }

    /// Adds nested errors.
    pub fn with_details(mut self, details: Vec<Value>) -> Self {
        self.details = details;
        self
    }

    /// Adds a header.
    pub fn with_header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// The inner object: code, message, target, details.
    pub fn to_value(&self) -> Value {
        let mut error = json!({"code": self.code, "message": self.message});
        if let Some(target) = &self.target {
            error["target"] = json!(&**target);
        }
        if !self.details.is_empty() {
            error["details"] = json!(self.details);
        }
        error
    }

    /// The whole body.
    pub fn envelope(&self) -> Value {
        json!({"error": self.to_value()})
    }
}
