# The agent: the messages, the client against a scripted peer, the real program against the client.
pv_unit_test(agent_proto pv_agent_proto)
pv_unit_test(agent_host pv_agent_host)
pv_unit_test(agent_guest pv_agent_host)
target_sources(unit_agent_guest PRIVATE ${CMAKE_SOURCE_DIR}/tests/unit/agent_rig.c)
pv_unit_test(agent_guest_paths pv_agent_host)
target_sources(unit_agent_guest_paths PRIVATE ${CMAKE_SOURCE_DIR}/tests/unit/agent_rig.c)
pv_unit_test(agent_guest_load pv_agent_host)
target_sources(unit_agent_guest_load PRIVATE ${CMAKE_SOURCE_DIR}/tests/unit/agent_rig.c)
pv_unit_test(agent_syscall pv_agent_host)
target_sources(unit_agent_syscall PRIVATE ${CMAKE_SOURCE_DIR}/tests/unit/agent_rig.c)

pv_fuzz_target(agent_host pv_agent_host)
pv_fuzz_target(agent_guest pv_agent_proto)
