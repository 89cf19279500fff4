// An HTTP client for tests.
#pragma once

#include <civetweb.h>
#include <gtest/gtest.h>

#include <string>

#include "common/server/address.h"

namespace sluice::server {

struct Reply {
  int status = 0;
  std::string type;
  std::string body;
};

// `address` is HOST:PORT.
inline Reply Fetch(const std::string& address, const std::string& method, const std::string& path) {
  const Address parsed = *ParseAddress(address);
  char error[200] = "";
  mg_connection* connection =
      mg_download(parsed.host.c_str(), parsed.port, 0, error, sizeof(error),
                  "%s %s HTTP/1.0\r\nHost: x\r\n\r\n", method.c_str(), path.c_str());
  if (connection == nullptr) {
    ADD_FAILURE() << error;
    return {};
  }
  Reply reply;
  reply.status = mg_get_response_info(connection)->status_code;
  if (const char* type = mg_get_header(connection, "Content-Type")) reply.type = type;
  char buffer[4096];
  for (int n; (n = mg_read(connection, buffer, sizeof(buffer))) > 0;) reply.body.append(buffer, n);
  mg_close_connection(connection);
  return reply;
}

// A counter or gauge among the metrics of a server; `name` with its labels, as /metrics prints
// them. 0 if it is not there (yet).
inline double FetchMetric(const std::string& address, const std::string& name) {
  const std::string page = "\n" + Fetch(address, "GET", "/metrics").body;
  const std::string begin = "\n" + name + " ";
  const size_t at = page.find(begin);
  return at == std::string::npos ? 0 : std::stod(page.substr(at + begin.size()));
}

}  // namespace sluice::server
