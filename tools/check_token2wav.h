/* check_token2wav.h - the weights of a file of token2wav/ for golden cases.
 */
#ifndef SA2_TOOLS_CHECK_TOKEN2WAV_H
#define SA2_TOOLS_CHECK_TOKEN2WAV_H

#include "loader/flow_yaml.h"
#include "loader/token2wav_writer.h"
#include "tools/check_case.h"

/* From token2wav/ in the folder of the context, else made from the case's preset and seed. The caller owns *map. */
sa2_status sa2_check_token2wav_map(sa2_tensor_map **map, const sa2_check_run *run,
                                   sa2_token2wav_file file, sa2_error *err);

/* The flow's dimensions: flow.yaml of the context's folder, or the case's preset. */
sa2_status sa2_check_flow_config(sa2_flow_config *config, const sa2_check_run *run, sa2_error *err);

#endif
