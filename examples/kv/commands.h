/* SPDX-License-Identifier: BSD-2-Clause */
/* commands: the table's rows, by the file that has them; each list ends with a NULL name */
#ifndef KV_COMMANDS_H
#define KV_COMMANDS_H

#include "command.h"

extern const struct command string_commands[];
extern const struct command key_commands[];
extern const struct command list_commands[];
extern const struct command set_commands[];
extern const struct command hash_commands[];
extern const struct command zset_commands[];
extern const struct command server_commands[];
extern const struct command client_commands[];
extern const struct command pubsub_commands[];
extern const struct command transaction_commands[];

#endif
