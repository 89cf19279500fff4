// Whether a history (history.h) is one that a durable, ordered log may have. Pure and
// deterministic.
//
// What is checked of each collection (in brackets: the invariant of the design):
//   - its log is dense, holds only what was pushed, each append whole and at most once [1, 2, 3];
//   - what was acknowledged is there, at the SeqIds that were told; what every attempt was told to
//   be
//     NOT_IN is not [1, 10];
//   - a second acknowledgement of an append says so (`duplicate`), and no first one does [3];
//   - an append that was acknowledged before another was first tried stands before it [2];
//   - what is in of a push stream's appends is a first part of them, each once, in the order in
//     which they were handed over [2, 3];
//   - a tail that was told is never less than one that anybody knew before the call began, and
//   never
//     more than what had been pushed by then;
//   - what reads and subscriptions show is what the log holds, without gaps or repeats, over all
//     reconnects of a subscriber, who in the end has seen everything [4];
//   - what was appended on a condition was appended while it held; what was refused for the tail or
//   for
//     an id is not in, and was told what the log holds; a predecessor that was acknowledged before
//     the call began is not missed.
// Answers that were unexpected are passed on. A push that nobody answered may be in or not.
#pragma once

#include <string>
#include <vector>

#include "tests/crash/history.h"

namespace sluice::testing {

// What is wrong, in words, at most 20 of it; empty if nothing is.
std::vector<std::string> CheckHistory(const History& history);

}  // namespace sluice::testing
