//! `lockstep.yaml`: text in, a [`Project`] or every problem of the file out.

mod project;

pub use project::{
    Abi, Argument, Call, Contract, Environment, Expectation, LanguageName, Limits, Loader, Project, Ready,
    RecipeReference, Request, ResponseExpectation, Returns, Server, Smoke, SmokeKind, Stop, Unit, UnitRole,
};
