#include "kernels/base/library.h"

#include <dlfcn.h>
#include <string.h>

const char *sa2_library_find(void *library, const sa2_library_call *calls, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        void *symbol = dlsym(library, calls[i].name);
        if (symbol == NULL)
            return calls[i].name;
        memcpy(calls[i].call, &symbol, sizeof symbol);
    }
    return NULL;
}
