//! Token credentials for the kinds of sign-in that the engine knows, made by `azure_identity` over the host's transport.
