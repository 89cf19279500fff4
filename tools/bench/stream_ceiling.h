// The ceiling of Subscribe: a server that sends a log's messages from memory.
#pragma once

#include <string>

namespace sluice::bench {

// Reads all of `collection` from the log at `address`, message by message as the log sends them,
// and serves LogService.Subscribe with those bytes: every subscription gets all of them, then ends.
// Prints "ready grpc=ADDRESS"; runs until it is killed.
int ServeStream(const std::string& address, const std::string& collection);

}  // namespace sluice::bench
