/* comm_cases.h - every call of a comm against its definition, on one rank of several: for any kind of link.
 */
#ifndef SA2_TESTS_SUPPORT_COMM_CASES_H
#define SA2_TESTS_SUPPORT_COMM_CASES_H

#include "runtime/serving/comm.h"

/* All ranks call it at the same time. nccl: a library that tensors go by, NULL for host memory. Fails the test with what
 * differs. */
void test_comm_calls(sa2_comm *comm, const char *nccl);

#endif
