/* library.h - calls of a library that is opened at run time, so that a build needs nothing of it.
 */
#ifndef SA2_KERNELS_BASE_LIBRARY_H
#define SA2_KERNELS_BASE_LIBRARY_H

#include <stddef.h>

typedef struct sa2_library_call {
    const char *name;
    void *call; /* the address of a pointer to a function */
} sa2_library_call;

/* Finds n calls in what dlopen() gave. The name of the first that it has not, or NULL: all are there. */
const char *sa2_library_find(void *library, const sa2_library_call *calls, size_t n);

#endif
