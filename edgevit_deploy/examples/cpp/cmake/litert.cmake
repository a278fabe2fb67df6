# The ai-edge-litert wheel has the library; what is called of it is declared in src/backends/litert_api.h.
edgevit_wheel(wheel ai_edge_litert)
find_library(LITERT_LIBRARY LiteRt HINTS "${wheel}")
if(LITERT_LIBRARY)
  edgevit_back_end(litert)
  target_link_libraries(edgevit_litert PUBLIC "${LITERT_LIBRARY}")
else()
  set(EDGEVIT_litert_MISSING "LiteRT not found; pip install ai-edge-litert, or give -DLITERT_LIBRARY=FILE (libLiteRt.so)")
endif()
