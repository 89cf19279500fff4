#include "common/server/address.h"

#include <netdb.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace sluice::server {

std::string Address::ToString() const { return absl::StrCat(host, ":", port); }

absl::StatusOr<Address> ParseAddress(const std::string& text) {
  const size_t colon = text.rfind(':');
  uint32_t port = 0;
  const bool ok = colon != std::string::npos && colon > 0 &&
                  absl::SimpleAtoi(text.substr(colon + 1), &port) && port <= 65535;
  const std::string host = text.substr(0, ok ? colon : 0);
  const bool bracketed = host.size() > 2 && host.front() == '[' && host.back() == ']';
  if (!ok || (!bracketed && host.find_first_of(":,/[] ") != std::string::npos)) {
    return absl::InvalidArgumentError(absl::StrCat("\"", text, "\" is not HOST:PORT"));
  }
  return Address{host, static_cast<uint16_t>(port)};
}

namespace {

// Empty if it would work.
std::string WhyNotListen(const Address& address) {
  const bool bracketed = address.host.front() == '[';
  const std::string host =
      bracketed ? address.host.substr(1, address.host.size() - 2) : address.host;
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE;
  addrinfo* found = nullptr;
  const int resolved =
      getaddrinfo(host.c_str(), std::to_string(address.port).c_str(), &hints, &found);
  if (resolved != 0) return gai_strerror(resolved);
  std::string why;
  const int fd = socket(found->ai_family, found->ai_socktype | SOCK_CLOEXEC, 0);
  const int on = 1;
  if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) != 0 ||
      bind(fd, found->ai_addr, found->ai_addrlen) != 0 || listen(fd, 1) != 0) {
    why = std::strerror(errno);
  }
  if (fd >= 0) close(fd);
  freeaddrinfo(found);
  return why;
}

}  // namespace

absl::Status CannotListen(const Address& address) {
  const std::string why = WhyNotListen(address);
  return absl::UnavailableError(absl::StrCat("cannot listen on ", address.ToString(), ": ",
                                             why.empty() ? "the address cannot be used" : why));
}

}  // namespace sluice::server
