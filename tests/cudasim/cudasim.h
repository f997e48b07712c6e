/* cudasim.h - what a test may ask of the simulated device.
 */
#ifndef CUDASIM_CUDASIM_H
#define CUDASIM_CUDASIM_H

#ifdef __cplusplus
extern "C" {
#endif

/* After `after` calls of `call` ("cudaMalloc"), the next one fails with `error`, a cudaError_t. */
void cudasim_fail(const char *call, int after, int error);

/* Calls of `call` are counted from here on; those of the one that was before. */
int cudasim_count(const char *call);

/* The device vanishes: after `after` calls of any kind all fail with `error`, until cudasim_lose(0, 0). */
void cudasim_lose(int after, int error);

#ifdef __cplusplus
}
#endif

#endif
