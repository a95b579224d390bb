# The agent: the messages, the client against a scripted peer, the real program against the client.
pv_unit_test(agent_proto pv_agent_proto)
pv_unit_test(agent_host pv_agent_host)
pv_unit_test(agent_guest pv_agent_host)
target_sources(unit_agent_guest PRIVATE ${CMAKE_SOURCE_DIR}/tests/unit/agent_rig.c)
pv_unit_test(agent_guest_load pv_agent_host)
target_sources(unit_agent_guest_load PRIVATE ${CMAKE_SOURCE_DIR}/tests/unit/agent_rig.c)
pv_unit_test(agent_process pv_agent_host)
target_sources(unit_agent_process PRIVATE ${CMAKE_SOURCE_DIR}/tests/unit/agent_rig.c)
pv_unit_test(agent_worker pv_agent_host)
target_sources(unit_agent_worker PRIVATE ${CMAKE_SOURCE_DIR}/tests/unit/agent_rig.c)

pv_fuzz_target(agent_host pv_agent_host)
pv_fuzz_target(agent_guest pv_agent_proto)
