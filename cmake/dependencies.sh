# Sourced by tests/run.sh, examples/run.sh and bench/run.sh: what they need installed, and how they speak.

library_packages="g++ cmake ninja-build libeigen3-dev libxsimd-dev nlohmann-json3-dev libjpeg-dev libpng-dev zlib1g-dev libzip-dev libpugixml-dev"

say() { printf '== %s\n' "$*"; }
die() {
  printf 'error: %s\n' "$*" >&2
  exit 1
}

# The packages of "$@" that dpkg does not know as installed.
missing_packages() {
  local package
  for package in "$@"; do
    [ "$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || printf '%s ' "$package"
  done
}

# Installs Debian packages that are missing, as root or through sudo. On other systems it names them and goes on; CMake
# then says what it does not find.
need_packages() {
  if ! command -v apt-get >/dev/null || ! command -v dpkg-query >/dev/null; then
    say "not a Debian system; needed are what these Debian packages hold: $*"
    return
  fi
  local missing as_root=""
  missing=$(missing_packages "$@")
  [ -n "$missing" ] || return 0
  if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || die "install these packages as root first: apt-get install $missing"
    as_root=sudo
  fi
  say "installing $missing"
  # shellcheck disable=SC2086  # a list of words
  $as_root apt-get update -qq && $as_root env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -qq --no-install-recommends $missing >/dev/null || die "apt-get could not install $missing"
}

# build_programs <name> <cmake arguments>...: an optimised build for this machine in build/<name>.
build_programs() {
  local directory="build/$1" log="build/$1.log"
  shift
  mkdir -p "$directory"
  say "building $directory"
  cmake -S . -B "$directory" -G Ninja -DCMAKE_BUILD_TYPE=Release -DMOEVIT_ARCH=native "$@" >"$log" 2>&1 &&
    cmake --build "$directory" --parallel "$(nproc)" >"$log" 2>&1 || { cat "$log" && die "the build in $directory failed"; }
}
