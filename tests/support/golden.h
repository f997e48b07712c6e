/* golden.h - golden cases in tests.
 */
#ifndef SA2_TESTS_SUPPORT_GOLDEN_H
#define SA2_TESTS_SUPPORT_GOLDEN_H

#include "tools/golden_case.h"

/* tests/golden/<relative>; fails the test when it is not there or is no case. */
sa2_golden_case *golden_open(const char *relative);

/* The input or output `name`, which must be there. */
sa2_tensor golden_input(const sa2_golden_case *golden, const char *name);
sa2_tensor golden_output(const sa2_golden_case *golden, const char *name);

/* Fails the test, naming case, output and worst element, unless `found` (host memory, dense) is within
 * the case's tolerance for activations of `dtype`. */
void assert_golden(const sa2_golden_case *golden, const char *name, sa2_dtype dtype,
                   sa2_tensor found);

#endif
