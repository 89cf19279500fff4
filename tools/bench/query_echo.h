// The least that a query can take over gRPC: a server that answers each with the same bytes.
#pragma once

#include <string>

namespace sluice::bench {

// Serves FrontendService.Query with the generated callback service: parses each request, searches
// nothing, answers with the QueryResponse that the file holds.
int ServeQueryEcho(const std::string& response_file);

}  // namespace sluice::bench
