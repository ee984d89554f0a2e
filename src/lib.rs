//! Tenantry: an independent, personalised instance of one product for each customer.
pub mod api;

