#pragma once

namespace edgevit {

// While it lives, what anything in this process writes to stderr is lost. Runtimes log what they read in a file as it is: names
// that a stranger gave, with what moves a cursor or passes for a line of this program.
class Quiet {
public:
    Quiet();
    ~Quiet();
    Quiet(const Quiet&) = delete;
    Quiet& operator=(const Quiet&) = delete;

private:
    int stderr_;  // the true one, or -1 where it could not be put aside
};

}  // namespace edgevit
