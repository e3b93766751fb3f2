//! A whole evening of a room, drawn from one seed.
