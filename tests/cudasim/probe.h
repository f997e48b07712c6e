/* probe.h - what the simulated device does as the instruction set's documentation says, fact by fact, to be run on hardware
 * too: the same source for both.
 */
#ifndef CUDASIM_PROBE_H
#define CUDASIM_PROBE_H

#ifdef __cplusplus
extern "C" {
#endif

/* Runs every fact and tells each: `found` is NULL when it is as expected, else where it differs. Returns how many differ,
 * or -1 when the device failed. */
int sa2_probe_run(void (*tell)(const char *fact, const char *found));
int sa2_probe_captures(void (*tell)(const char *fact,
                                    const char *found)); /* of streams and graphs */

#ifdef __cplusplus
}
#endif

#endif
