#include "model.h"

#include <algorithm>
#include <exception>

#include "errors.h"
#include "text.h"

namespace edgevit {

#define EDGEVIT_BACK_END(target) std::unique_ptr<Model> load_##target(const Bundle& bundle);
#include "back_ends.inc"
#undef EDGEVIT_BACK_END

const std::vector<BackEnd>& back_ends() {
    static const std::vector<BackEnd> all = {
#define EDGEVIT_BACK_END(target) {#target, load_##target},
#include "back_ends.inc"
#undef EDGEVIT_BACK_END
    };
    return all;
}

std::unique_ptr<Model> load_model(const Bundle& bundle) {
    const std::string target = bundle.manifest().target;
    std::string known;
    for (const BackEnd& back_end : back_ends()) {
        known += (known.empty() ? "" : ", ") + back_end.target;
        if (back_end.target != target)
            continue;
        try {
            return back_end.load(bundle);
        } catch (const Refused&) {
            throw;
        } catch (const std::exception& error) {  // of the runtime, which knows best what it does not like
            throw Refused("the runtime of " + target + " does not load it: " + printable(error.what()) + "; convert again");
        }
    }
    throw Refused("the bundle is " + printable(target) + ", and this program was built for " +
                  (known.empty() ? "no runtime" : known) + "; see the README for how to build it for another");
}

}  // namespace edgevit
